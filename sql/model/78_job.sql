-- Heartbeats of jobs, and whether the jobs run. Of the installation, not of an organisation.
CREATE TABLE IF NOT EXISTS referral.heartbeat (
    job text PRIMARY KEY CHECK (octet_length(job) BETWEEN 1 AND 63),
    scheduled_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    as_of timestamptz,
    fired bigint NOT NULL DEFAULT 0,
    acted bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    failed bigint NOT NULL DEFAULT 0,
    last_error text,
    runs bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE referral.heartbeat IS
'When a job last began and finished, and what its last finished run did; started_at after finished_at: a run is under way, hangs, or died. Written by heartbeat_start(), heartbeat_end() and schedule_jobs(); not journaled.';
COMMENT ON COLUMN referral.heartbeat.scheduled_at IS 'Since when schedule_jobs() has it in pg_cron; null when it did not put it there.';
COMMENT ON COLUMN referral.heartbeat.as_of IS 'The time that the run which began last worked for.';
COMMENT ON COLUMN referral.heartbeat.fired IS 'Levels of clocks fired by the last finished run; acted: actions performed; expired: referrals and others that expired; failed: items it failed on.';
COMMENT ON COLUMN referral.heartbeat.last_error IS 'Of the last finished run; null when it had none.';
COMMENT ON COLUMN referral.heartbeat.runs IS 'Runs that finished, ever.';

CREATE OR REPLACE VIEW referral.job_status WITH (security_invoker = true) AS
SELECT s.job, s.job_name, s.login, s.schedule, s.active, s.last_start, s.last_end, s.last_status, s.last_message,
       s.failures AS failures_last_hour, h.started_at AS heartbeat_started_at, h.finished_at AS heartbeat_finished_at, h.as_of,
       h.fired, h.acted, h.expired, h.failed, h.last_error, h.runs, s.next_expected, s.pg_cron, s.problem
FROM referral.job_status_of() WITH ORDINALITY s LEFT JOIN referral.heartbeat h ON h.job = s.job
ORDER BY s.ordinality;
COMMENT ON VIEW referral.job_status IS
'The jobs that schedule_jobs() makes: what pg_cron tells of their last run (null where it does not run in this database), their heartbeat, when the next run is expected, the state of pg_cron itself, and problem: what is wrong, null when all is well. One row per job, more where several logins have scheduled it.';

GRANT SELECT ON referral.heartbeat, referral.job_status TO referral_admin, referral_auditor, referral_analyst;
GRANT EXECUTE ON FUNCTION referral.job_status_of() TO referral_admin, referral_auditor, referral_analyst;
GRANT EXECUTE ON FUNCTION referral.job_plan(), referral.cron_facts(), referral.cron_jobs(), referral.check_cron(text, boolean), referral.schedule_jobs(),
    referral.unschedule_jobs(), referral.heartbeat_start(text, timestamptz),
    referral.heartbeat_end(text, bigint, bigint, bigint, bigint, text) TO referral_admin;

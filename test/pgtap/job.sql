-- Jobs, as far as they need no pg_cron of their own: here it is loaded, but has its tables in another database. t/job.pl
-- has the rest.
SELECT plan(68);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
CREATE FUNCTION public.problem(of_job text) RETURNS text LANGUAGE sql AS 'SELECT problem FROM referral.job_status WHERE job = of_job';

CREATE ROLE job_admin LOGIN IN ROLE referral_admin;
CREATE ROLE job_auditor LOGIN IN ROLE referral_auditor;
CREATE ROLE job_analyst LOGIN IN ROLE referral_analyst;
CREATE ROLE job_coordinator LOGIN IN ROLE referral_coordinator;

-- 1. What is to be scheduled

SELECT is((SELECT array_agg(job) FROM referral.job_plan()), '{tick,match,seal,partitions,frequencies,housekeeping}', 'six jobs');
SELECT is((SELECT array_agg(schedule) FROM referral.job_plan() WHERE schedule !~ '^([0-9*/,-]+ ){4}[0-9*/,-]+$'), NULL, 'their schedules have five fields');
SELECT is((SELECT count(*) FROM referral.job_plan() WHERE referral.cron_next(schedule, now()) <= now() + interval '1 day'), 6::bigint,
          'each is due at least once a day');
SELECT is((SELECT array_agg(DISTINCT job_name) FROM referral.job_plan() WHERE job_name NOT LIKE 'referral pgtap\_job %'), NULL,
          'their names have that of the database');
SELECT is((SELECT array_agg(command) FROM referral.job_plan() WHERE job <> 'housekeeping'),
          '{"CALL referral.tick()","CALL referral.process_match_queue()","SELECT referral.seal()","SELECT referral.make_journal_partitions()","SELECT referral.refresh_match_frequencies()"}', 'what they run');

-- 2. When a schedule is due

SELECT is(referral.cron_next(s, a::timestamptz), n::timestamptz, format('%s after %s', s, a)) FROM (VALUES
    ('* * * * *', '2026-11-22 08:23:45Z', '2026-11-22 08:24Z'),
    ('* * * * *', '2026-11-22 08:23:00Z', '2026-11-22 08:24Z'),
    ('  */5  * * *	* ', '2026-12-31 23:56Z', '2027-01-01 00:00Z'),
    ('17 3 * * *', '2026-11-22 03:16:59Z', '2026-11-22 03:17Z'),
    ('17 3 * * *', '2026-11-22 03:17Z', '2026-11-23 03:17Z'),
    ('5,10-20/5,50 8 * * *', '2026-11-22 08:20Z', '2026-11-22 08:50Z'),
    ('3/20 8 * * *', '2026-11-22 08:03Z', '2026-11-23 08:03Z'),
    ('0 0 29 2 *', '2026-11-22Z', '2028-02-29Z'),
    ('0 9 * * 0', '2026-11-22 09:00Z', '2026-11-29 09:00Z'),
    ('0 9 * * 7', '2026-11-22 08:59Z', '2026-11-22 09:00Z'),
    ('0 9 * * Mon-Wed', '2026-11-22Z', '2026-11-23 09:00Z'),
    ('0 9 1 * *', '2026-11-22Z', '2026-12-01 09:00Z'),
    ('0 9 1 feb,MAR *', '2026-11-22Z', '2027-02-01 09:00Z'),
    -- 13th or Friday; a * with a step leaves both to fit
    ('0 9 13 * 5', '2026-11-22Z', '2026-11-27 09:00Z'),
    ('0 9 13 * */5', '2026-11-22Z', '2026-12-13 09:00Z'),
    ('0 0 31 2 *', '2026-11-22Z', NULL), ('61 * * * *', '2026-11-22Z', NULL), ('* * * *', '2026-11-22Z', NULL),
    ('*/30 * * * * *', '2026-11-22Z', NULL), ('30 seconds', '2026-11-22Z', NULL), ('@daily', '2026-11-22Z', NULL),
    ('*/0 * * * *', '2026-11-22Z', NULL), ('9-5 * * * *', '2026-11-22Z', NULL), ('* * 0 * *', '2026-11-22Z', NULL),
    ('* * $ * *', '2026-11-22Z', NULL), ('x * * * *', '2026-11-22Z', NULL), ('jan * * * *', '2026-11-22Z', NULL),
    ('* * * nov-jan *', '2026-11-22Z', NULL), ('', '2026-11-22Z', NULL)) x (s, a, n);
SELECT is(referral.cron_next('17 3 * * *', '2026-07-01Z', 'America/Chicago'), '2026-07-01 08:17Z'::timestamptz, 'in another time zone');
SELECT is(referral.cron_next(NULL, now()) IS NULL AND referral.cron_next('* * * * *', NULL) IS NULL AND referral.cron_field(NULL, 0, 59) IS NULL,
          true, 'null for null');
SELECT set_config('timezone', 'Asia/Tokyo', false) \g /dev/null
SELECT is(referral.cron_next('17 3 * * *', '2026-11-22Z'), '2026-11-22 03:17Z'::timestamptz, 'whatever the session''s time zone is');
RESET timezone;

-- 3. Heartbeats

SELECT is((SELECT count(*) FROM referral.heartbeat), 0::bigint, 'no heartbeat at first');
SELECT referral.heartbeat_start('tick', '2026-01-02Z') \g /dev/null
SELECT results_eq('SELECT as_of, started_at <= clock_timestamp(), finished_at, runs, last_error FROM referral.heartbeat',
    $$VALUES ('2026-01-02Z'::timestamptz, true, NULL::timestamptz, 0::bigint, NULL::text)$$, 'a run begins');
SELECT referral.heartbeat_end('tick', 1, 2, 3, 4, 'oh') \g /dev/null
SELECT results_eq('SELECT finished_at >= started_at, fired, acted, expired, failed, runs, last_error FROM referral.heartbeat',
    $$VALUES (true, 1::bigint, 2::bigint, 3::bigint, 4::bigint, 1::bigint, 'oh')$$, 'and ends, with what it did');
SELECT is(public.problem('tick'), 'finished with errors: oh', 'errors are a problem');
SELECT referral.heartbeat_start('tick', '2026-01-03Z') \g /dev/null
SELECT results_eq('SELECT as_of, started_at > finished_at, fired, runs, last_error FROM referral.heartbeat',
    $$VALUES ('2026-01-03Z'::timestamptz, true, 1::bigint, 1::bigint, 'oh')$$, 'the next one begins: the counts stay those of the last that ended');
SELECT referral.heartbeat_end('tick', NULL, NULL, NULL, NULL, NULL) \g /dev/null
SELECT results_eq('SELECT finished_at > started_at, fired, acted, expired, failed, runs, last_error FROM referral.heartbeat',
    $$VALUES (true, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 2::bigint, NULL::text)$$, 'and ends; null counts as none');
SELECT is(public.problem('tick'), NULL, 'all is well');
SELECT referral.heartbeat_end('mine') \g /dev/null
SELECT is((SELECT runs FROM referral.heartbeat WHERE job = 'mine'), 1::bigint, 'a job of one''s own may have heartbeats, too');
SELECT is(public.code('SELECT referral.heartbeat_start(NULL)'), '23502', 'but not without a name');

UPDATE referral.heartbeat SET finished_at = now() - interval '3 minutes', started_at = now() - interval '4 minutes' WHERE job = 'tick';
SELECT is(public.problem('tick'), NULL, 'three minutes without a tick are no problem');
UPDATE referral.heartbeat SET finished_at = '2026-01-02 03:04:05.678Z', started_at = '2026-01-02 03:04Z' WHERE job = 'tick';
SELECT is(public.problem('tick'), 'stalled: nothing finished since 2026-01-02 03:04:05+00', 'months are');
UPDATE referral.heartbeat SET started_at = now(), finished_at = now() - interval '6 minutes' WHERE job = 'tick';
SELECT matches(public.problem('tick'), '^stalled: nothing finished since ', 'six minutes are, also while a run is under way');
UPDATE referral.heartbeat SET finished_at = NULL WHERE job = 'tick';
SELECT matches(public.problem('tick'), '^stalled: nothing has finished, begun ', 'a first run that does not end');
DELETE FROM referral.heartbeat;
SELECT is(public.problem('tick'), 'never ran', 'no run at all');
SELECT results_eq('SELECT job, login, schedule, last_status, pg_cron FROM referral.job_status',
    $$SELECT job, NULL::text, NULL::text, NULL::text, 'in database "cron"' FROM referral.job_plan()$$, 'the jobs themselves are not to be seen from here');
SELECT matches(public.problem('seal'), '^unknown: .* database cron', 'which is not called well');

-- 4. Scheduling

SELECT code, hint FROM public.refused('SELECT * FROM referral.schedule_jobs()') \gset
SELECT is(:'code'::text, 'RF024', 'pg_cron is in another database');
SELECT matches(:'hint'::text, '^Run in database "cron", as a superuser:', 'the hint says which');
SELECT is((SELECT count(*) FROM regexp_matches(:'hint', '^SELECT cron[.]schedule_in_database\(''referral pgtap_job \w+'', .*\);$', 'gn')), 6::bigint, 'and what to run there');
SELECT code, hint FROM public.refused('SELECT * FROM referral.unschedule_jobs()') \gset
SELECT is(:'code'::text, 'RF024', 'nor can they be taken out from here');
SELECT is((SELECT count(*) FROM regexp_matches(:'hint', '^SELECT cron[.]unschedule\(jobid\) FROM cron[.]job .*;$', 'gn')), 6::bigint, 'and what to run there');

-- 5. Rights

SELECT is(public.code('SET ROLE job_' || r || '; ' || s), c, r || ': ' || s) FROM (VALUES
    ('admin', 'SELECT * FROM referral.job_status', 'done'), ('auditor', 'SELECT * FROM referral.job_status', 'done'),
    ('analyst', 'SELECT * FROM referral.job_status', 'done'), ('coordinator', 'SELECT * FROM referral.job_status', '42501'),
    ('admin', 'SELECT referral.heartbeat_start(''tick'')', 'done'), ('auditor', 'SELECT referral.heartbeat_start(''tick'')', '42501'),
    ('admin', 'SELECT * FROM referral.schedule_jobs()', 'RF003'), ('auditor', 'SELECT * FROM referral.schedule_jobs()', '42501'),
    ('admin', 'SELECT * FROM referral.unschedule_jobs()', 'RF003'), ('admin', 'INSERT INTO referral.heartbeat (job) VALUES (''x'')', '42501')) x (r, s, c);

SELECT * FROM finish();

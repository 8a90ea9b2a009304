-- job: what pg_cron is to run, whether it does, and heartbeats

CREATE FUNCTION referral.heartbeat_start(job text, as_of timestamptz DEFAULT now()) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO referral.heartbeat AS h (job, started_at, as_of)
    VALUES (heartbeat_start.job, clock_timestamp(), heartbeat_start.as_of)
    ON CONFLICT ON CONSTRAINT heartbeat_pkey DO UPDATE SET started_at = excluded.started_at, as_of = excluded.as_of;
END $$;
COMMENT ON FUNCTION referral.heartbeat_start(text, timestamptz) IS
'Notes that a run of a job begins now; as_of is the time that it works for. To be committed before the work, so that a run that hangs or dies shows. 23502 without a job; as_of may be null.';

CREATE FUNCTION referral.heartbeat_end(
    job text, fired bigint DEFAULT 0, acted bigint DEFAULT 0, expired bigint DEFAULT 0, failed bigint DEFAULT 0,
    last_error text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO referral.heartbeat AS h (job, finished_at, fired, acted, expired, failed, last_error, runs)
    VALUES (heartbeat_end.job, clock_timestamp(), coalesce(heartbeat_end.fired, 0), coalesce(heartbeat_end.acted, 0),
            coalesce(heartbeat_end.expired, 0), coalesce(heartbeat_end.failed, 0), heartbeat_end.last_error, 1)
    ON CONFLICT ON CONSTRAINT heartbeat_pkey DO UPDATE
    SET finished_at = excluded.finished_at, fired = excluded.fired, acted = excluded.acted, expired = excluded.expired,
        failed = excluded.failed, last_error = excluded.last_error, runs = h.runs + 1;
END $$;
COMMENT ON FUNCTION referral.heartbeat_end(text, bigint, bigint, bigint, bigint, text) IS
'Notes that a run of a job ends now: how many levels it fired, actions it performed, rows it let expire, and items it failed on, with the last error (null when there was none). Null counts as 0. 23502 without a job.';

-- The jobs, in one place. Five fields each: pg_cron 1.4 takes a sixth and ignores it.
CREATE FUNCTION referral.job_plan()
RETURNS TABLE (job text, job_name text, schedule text, command text, slack interval)
LANGUAGE sql ROWS 6 SET search_path = pg_catalog, pg_temp AS $$
    WITH plan (n, job, schedule, command, slack) AS (VALUES
        (1, 'tick', '* * * * *', 'CALL referral.tick()', interval '4 minutes'),
        (2, 'match', '* * * * *', 'CALL referral.process_match_queue()', interval '15 minutes'),
        (3, 'seal', '*/5 * * * *', 'SELECT referral.seal()', interval '10 minutes'),
        (4, 'partitions', '17 3 * * *', 'SELECT referral.make_journal_partitions()', interval '2 hours'),
        (5, 'frequencies', '27 3 * * *', 'SELECT referral.refresh_match_frequencies()', interval '2 hours'),
        (6, 'housekeeping', '47 3 * * *', NULL, interval '2 hours')),
    named AS (
        -- cron.job.jobname holds 63 bytes in pg_cron 1.4, and cuts without a word
        SELECT p.*, format('referral %s %s', CASE WHEN octet_length(current_database()) > 40 THEN md5(current_database())
                                                  ELSE current_database()::text END, p.job) AS job_name
        FROM plan p)
    SELECT p.job, p.job_name, p.schedule,
           coalesce(p.command, (
               SELECT format('DELETE FROM cron.job_run_details d WHERE d.status IN (''succeeded'', ''failed'')'
                             ' AND d.runid <= (SELECT max(o.runid) FROM cron.job_run_details o WHERE o.end_time < now() - interval ''7 days'')'
                             ' AND d.runid NOT IN (SELECT max(n.runid) FROM cron.job_run_details n GROUP BY n.jobid)'
                             ' AND (d.jobid IN (SELECT j.jobid FROM cron.job j WHERE j.jobname::text IN (%s))'
                             ' OR d.database = %L AND d.command IN (%s))',
                             string_agg(quote_literal(x.job_name), ', ' ORDER BY x.n), current_database(),
                             string_agg(quote_literal(x.command), ', ' ORDER BY x.n))
               FROM named x)),
           p.slack
    FROM named p ORDER BY p.n
$$;
COMMENT ON FUNCTION referral.job_plan() IS
'The jobs of this database as schedule_jobs() makes them: name and command in pg_cron, schedule (five fields, GMT), and how late a run may end (slack) before job_status calls the job stalled.';

-- pg_cron hides its settings, and the jobs of others, from all but superusers. Its table is read only where it is the
-- extension's own: anybody may have made a schema of that name.
CREATE FUNCTION referral.cron_facts(
    OUT preloaded boolean, OUT cron_database text, OUT created boolean, OUT here boolean, OUT launcher boolean,
    OUT log_run boolean, OUT timezone text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    SELECT max(s.setting) FILTER (WHERE s.name = 'cron.database_name'),
           coalesce(bool_or(s.setting::boolean) FILTER (WHERE s.name = 'cron.log_run'), true),
           coalesce(max(s.setting) FILTER (WHERE s.name = 'cron.timezone'), 'GMT')
    INTO cron_database, log_run, timezone
    FROM pg_settings s WHERE s.name IN ('cron.database_name', 'cron.log_run', 'cron.timezone');
    preloaded := CASE WHEN cron_database IS NOT NULL THEN true
                      WHEN pg_has_role('pg_read_all_settings', 'USAGE') THEN false END;
    created := EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid
                       WHERE d.classid = 'pg_class'::regclass AND d.objid = to_regclass('cron.job') AND d.deptype = 'e'
                         AND e.extname = 'pg_cron');
    here := created AND preloaded IS NOT FALSE AND coalesce(cron_database = current_database(), true);
    launcher := EXISTS (SELECT FROM pg_stat_activity a WHERE a.backend_type = 'pg_cron launcher');
END $$;
COMMENT ON FUNCTION referral.cron_facts() IS
'What there is of pg_cron: whether the server has preloaded it (null: the owner of this function may not see settings), the database that its tables are in, whether the extension was created in this one, whether both are the same (here), whether its launcher runs, whether it records its runs, and the time zone of its schedules.';

CREATE FUNCTION referral.cron_jobs()
RETURNS TABLE (job text, jobid bigint, login text, schedule text, command text, active boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 6 SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT (SELECT f.here FROM referral.cron_facts() f) THEN
        RETURN;
    END IF;
    RETURN QUERY EXECUTE $query$
        SELECT p.job, j.jobid, j.username::text, j.schedule, j.command, j.active
        FROM referral.job_plan() p
        JOIN cron.job j ON j.jobname::text = p.job_name AND j.database = current_database()
        JOIN pg_roles r ON r.rolname = j.username
        -- others may use the names, but not do the work
        WHERE pg_has_role(r.oid, (SELECT c.relowner FROM pg_class c WHERE c.oid = to_regclass('referral.journal')), 'USAGE')
        ORDER BY j.jobid $query$;
END $$;
COMMENT ON FUNCTION referral.cron_jobs() IS
'The jobs of job_plan() that pg_cron has for this database, of every login that has the rights of the owner of the journal. No rows where pg_cron has its tables in another database.';

CREATE FUNCTION referral.cron_field(field text, low integer, high integer, names text[] DEFAULT '{}') RETURNS integer[]
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH item AS (
        SELECT regexp_match(i, '^(?:[*]|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:/([0-9]{1,2}))?$') AS m
        FROM regexp_split_to_table(lower(field), ',') i),
    number AS (
        SELECT m, CASE WHEN m[1] ~ '^[0-9]' THEN m[1]::integer ELSE array_position(names, m[1]) + low - 1 END AS first,
               CASE WHEN m[2] ~ '^[0-9]' THEN m[2]::integer ELSE array_position(names, m[2]) + low - 1 END AS last
        FROM item),
    span AS (
        SELECT CASE WHEN m[1] IS NULL THEN low ELSE first END AS first,
               CASE WHEN m[1] IS NULL THEN high WHEN m[2] IS NULL THEN first ELSE last END AS last,
               coalesce(m[3]::integer, 1) AS step, m IS NOT NULL AS written_right
        FROM number)
    SELECT CASE WHEN bool_and(written_right AND coalesce(first >= low AND last <= high AND first <= last AND step > 0, false))
                THEN ARRAY(SELECT DISTINCT g FROM span s, generate_series(s.first, s.last, greatest(s.step, 1)) g ORDER BY g) END
    FROM span
$$;
COMMENT ON FUNCTION referral.cron_field(text, integer, integer, text[]) IS
'The numbers that a field of a cron schedule stands for: *, a, a-b, steps with /n, lists with commas; names are those of low, low + 1, …. Null for what is none of these, and for null.';

CREATE FUNCTION referral.cron_next(schedule text, after timestamptz, timezone text DEFAULT 'GMT') RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    WITH field AS MATERIALIZED (
        SELECT referral.cron_field(p[1], 0, 59) AS minutes, referral.cron_field(p[2], 0, 23) AS hours,
               referral.cron_field(p[3], 1, 31) AS days,
               referral.cron_field(p[4], 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}') AS months,
               referral.cron_field(p[5], 0, 7, '{sun,mon,tue,wed,thu,fri,sat}') AS weekdays,
               p[3] LIKE '*%' OR p[5] LIKE '*%' AS both_count
        FROM regexp_split_to_array(btrim(schedule), '[[:space:]]+') p
        WHERE cardinality(p) = 5),
    day AS (
        SELECT f.minutes, f.hours, d.day
        FROM field f, generate_series(date_trunc('day', after AT TIME ZONE timezone),
                                      (after AT TIME ZONE timezone) + interval '9 years', '1 day') AS d (day),
        LATERAL (SELECT extract(day FROM d.day)::integer = ANY (f.days) AS of_month,
                        extract(dow FROM d.day)::integer = ANY (f.weekdays) OR extract(isodow FROM d.day)::integer = ANY (f.weekdays) AS of_week) fits
        WHERE extract(month FROM d.day)::integer = ANY (f.months)
          AND CASE WHEN f.both_count THEN fits.of_month AND fits.of_week ELSE fits.of_month OR fits.of_week END
        ORDER BY d.day LIMIT 2)
    SELECT min(t.time AT TIME ZONE timezone)
    FROM day d, unnest(d.hours) h, unnest(d.minutes) m, LATERAL (SELECT d.day + make_interval(hours => h, mins => m) AS time) t
    WHERE t.time > after AT TIME ZONE timezone
$$;
COMMENT ON FUNCTION referral.cron_next(text, timestamptz, text) IS
'When a cron schedule of five fields is due next after a time. As in cron, day of month and weekday must both fit when one of them begins with *, otherwise either. Null for another kind of schedule, for one that is never due, and for null.';

CREATE FUNCTION referral.check_cron(elsewhere text, needed boolean) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
    present text := (SELECT nullif(btrim(s.setting), '') FROM pg_settings s WHERE s.name = 'shared_preload_libraries');
    workers boolean := coalesce((SELECT string_to_array(regexp_replace(a.default_version, '[^0-9.].*', ''), '.')::integer[] >= '{1,5}'
                                 FROM pg_available_extensions a WHERE a.name = 'pg_cron'), false);
    sockets text := coalesce((SELECT split_part(s.setting, ',', 1) FROM pg_settings s WHERE s.name = 'unix_socket_directories'), '');
BEGIN
    IF to_regclass('referral.heartbeat') IS NULL THEN
        RAISE EXCEPTION 'the model is not deployed'
            USING ERRCODE = 'RF012', DETAIL = 'There is nothing yet that jobs could work on.', HINT = 'SELECT * FROM referral.deploy();';
    END IF;
    IF NOT pg_has_role(current_user, (SELECT c.relowner FROM pg_class c WHERE c.oid = 'referral.journal'::regclass), 'USAGE') THEN
        RAISE EXCEPTION 'only the owner of the journal may schedule its jobs'
            USING ERRCODE = 'RF003', DETAIL = 'They run as whoever schedules them, and make partitions of the journal.',
                  HINT = 'Call it as the owner, or as a superuser.';
    END IF;
    IF needed AND NOT (SELECT r.rolcanlogin FROM pg_roles r WHERE r.rolname = current_user) THEN
        RAISE EXCEPTION 'jobs cannot run as %, who cannot log in', current_user
            USING ERRCODE = 'RF003', DETAIL = 'pg_cron logs in as whoever schedules a job.',
                  HINT = 'Call it as a login that is a member of ' || quote_ident(current_user) || '.';
    END IF;
    SELECT * INTO f FROM referral.cron_facts();
    IF f.here THEN
        RETURN;
    END IF;
    IF f.cron_database <> current_database() THEN
        RAISE EXCEPTION 'pg_cron keeps its jobs in another database'
            USING ERRCODE = 'RF024', DETAIL = format('cron.database_name is "%s", this is "%s".', f.cron_database, current_database()),
                  HINT = format(E'Run in database "%s", as a superuser:\n%s', f.cron_database, replace(elsewhere, '{cron}', quote_literal(f.cron_database)));
    ELSIF NOT needed THEN
        RETURN;
    ELSIF f.preloaded THEN
        RAISE EXCEPTION 'pg_cron is loaded, but not created in this database'
            USING ERRCODE = 'RF024', DETAIL = 'There is no table cron.job.',
                  HINT = E'CREATE EXTENSION pg_cron;\nThen call this again.';
    END IF;
    RAISE EXCEPTION 'pg_cron is not loaded'
        USING ERRCODE = 'RF024',
              DETAIL = CASE WHEN EXISTS (SELECT FROM pg_available_extensions a WHERE a.name = 'pg_cron')
                            THEN 'It is installed, but the server was not started with it.'
                            ELSE 'It is not installed on the server (Debian: postgresql-'
                                 || current_setting('server_version_num')::integer / 10000 || '-cron).' END,
              HINT = format(E'Put into postgresql.conf, and restart the server:\n'
                            'shared_preload_libraries = %L\n'
                            'cron.database_name = %L\n'
                            '%scron.host = %L   # a job is a connection over the socket; pg_hba.conf must let the server''s own user in as %s\n'
                            '%scron.use_background_workers = on   # instead: no connection, no line in pg_hba.conf; but before pg_cron 1.5 one job that hangs holds up all\n'
                            'Then in this database: CREATE EXTENSION pg_cron; and call this again.',
                            concat_ws(',', present, 'pg_cron'), current_database(),
                            CASE WHEN workers THEN '# ' ELSE '' END, CASE WHEN sockets LIKE '/%' THEN sockets ELSE '/var/run/postgresql' END, current_user,
                            CASE WHEN workers THEN '' ELSE '# ' END);
END $$;
COMMENT ON FUNCTION referral.check_cron(text, boolean) IS
'Refuses when jobs cannot be scheduled or taken out from here: RF012 when the model is not deployed, RF003 for a role that is not the owner of the journal, RF024 when pg_cron is in another database; elsewhere is what the hint then says to run there ({cron}: the name of that database). When it is needed, also RF003 for a role that cannot log in, RF024 when pg_cron is not loaded or not created.';

CREATE FUNCTION referral.schedule_jobs()
RETURNS TABLE (job text, schedule text, command text, action text)
LANGUAGE plpgsql ROWS 6 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
    present record;
BEGIN
    -- pg_cron's own log is cleaned where it is
    PERFORM referral.check_cron((
        SELECT string_agg(CASE WHEN x.job = 'housekeeping'
                               THEN format('SELECT cron.schedule_in_database(%L, %L, %L, {cron});', x.job_name, x.schedule, x.command)
                               ELSE format('SELECT cron.schedule_in_database(%L, %L, %L, %L, %L);', x.job_name, x.schedule, x.command,
                                           current_database(), current_user) END, E'\n')
        FROM referral.job_plan() x), true);
    PERFORM pg_advisory_xact_lock('referral.schedule_jobs()'::regprocedure::oid::bigint);
    FOR p IN SELECT * FROM referral.job_plan() LOOP
        job := p.job;
        command := p.command;
        SELECT j.* INTO present FROM referral.cron_jobs() j WHERE j.job = p.job
        ORDER BY j.login = current_user DESC, j.jobid LIMIT 1;
        schedule := coalesce(present.schedule, p.schedule);
        action := CASE WHEN present.jobid IS NULL THEN 'created' WHEN present.command <> p.command THEN 'updated' ELSE 'kept' END;
        IF action = 'created' OR action = 'updated' AND present.login = current_user THEN
            EXECUTE 'SELECT cron.schedule($1, $2, $3)' USING p.job_name, schedule, p.command;
        ELSIF action = 'updated' THEN
            EXECUTE 'SELECT cron.alter_job($1, command => $2)' USING present.jobid, p.command;
        END IF;
        IF action = 'created' THEN
            INSERT INTO referral.heartbeat AS h (job, scheduled_at) VALUES (p.job, now())
            ON CONFLICT ON CONSTRAINT heartbeat_pkey DO UPDATE SET scheduled_at = excluded.scheduled_at;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.schedule_jobs() IS
'Has pg_cron run the jobs of this database (job_plan()) as whoever calls this: tick and match every minute, seal every five, partitions, frequencies and housekeeping daily. Returns each with action created, updated (its command was another one) or kept; a schedule that was changed, and a job that was switched off, stay so, and a job that another login with the same rights has scheduled is not made twice. For the owner of the journal (RF003), who needs the rights on schema cron besides. RF012 when the model is not deployed. RF024 when pg_cron is not there or in another database; the hint has the lines that help.';

CREATE FUNCTION referral.unschedule_jobs() RETURNS TABLE (job text, action text)
LANGUAGE plpgsql ROWS 6 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p record;
    present record;
BEGIN
    PERFORM referral.check_cron((
        SELECT string_agg(format('SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname::text = %L;', x.job_name), E'\n')
        FROM referral.job_plan() x), false);
    FOR p IN SELECT * FROM referral.job_plan() LOOP
        job := p.job;
        action := 'absent';
        FOR present IN SELECT j.* FROM referral.cron_jobs() j WHERE j.job = p.job LOOP
            EXECUTE 'SELECT cron.unschedule($1)' USING present.jobid;
            action := 'removed';
        END LOOP;
        RETURN NEXT;
    END LOOP;
    UPDATE referral.heartbeat h SET scheduled_at = NULL
    WHERE h.job IN (SELECT x.job FROM referral.job_plan() x) AND h.scheduled_at IS NOT NULL;
END $$;
COMMENT ON FUNCTION referral.unschedule_jobs() IS
'Takes the jobs of this database (job_plan()) out of pg_cron; a run that is under way ends as usual. Returns each with action removed, or absent when there was none. Jobs of another login take the right to DELETE from cron.job (42501). For the owner of the journal (RF003). RF012 when the model is not deployed. RF024 when pg_cron has its jobs in another database; the hint says what to run there.';

CREATE FUNCTION referral.job_status_of()
RETURNS TABLE (job text, job_name text, login text, schedule text, active boolean, last_start timestamptz, last_end timestamptz,
    last_status text, last_message text, failures bigint, next_expected timestamptz, pg_cron text, problem text)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER ROWS 6 SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    f record;
    p record;
    finished timestamptz;
    base timestamptz;
    error text;
    overdue boolean;
    beats boolean;
    elsewhere boolean;
BEGIN
    SELECT * INTO f FROM referral.cron_facts();
    elsewhere := coalesce(f.cron_database <> current_database(), false);
    pg_cron := CASE WHEN f.here THEN CASE WHEN f.launcher THEN 'running' ELSE 'its launcher is not running' END
                    WHEN elsewhere THEN format('in database "%s"', f.cron_database)
                    WHEN f.preloaded THEN 'not created in this database'
                    WHEN NOT f.preloaded THEN 'not preloaded' ELSE 'not to be seen' END;
    FOR p IN
        SELECT x.job, x.job_name, x.schedule AS planned, x.slack, x.command AS wanted, j.jobid, j.login, j.schedule, j.command, j.active,
               h.started_at, h.finished_at, h.scheduled_at, h.last_error
        FROM referral.job_plan() WITH ORDINALITY x
        LEFT JOIN referral.cron_jobs() j ON j.job = x.job
        LEFT JOIN referral.heartbeat h ON h.job = x.job
        ORDER BY x.ordinality, j.jobid LOOP
        job := p.job;
        beats := job IN ('tick', 'match');       -- leaves a heartbeat
        job_name := p.job_name;
        login := p.login;
        schedule := p.schedule;
        active := p.active;
        last_start := NULL;
        last_end := NULL;
        last_status := NULL;
        last_message := NULL;
        failures := NULL;
        finished := NULL;
        IF p.jobid IS NOT NULL AND f.log_run THEN
            -- what follows the first line of a message may quote rows
            EXECUTE $query$
                SELECT last.start_time, last.end_time, last.status, split_part(last.return_message, E'\n', 1), r.failures, r.finished
                FROM (SELECT count(*) FILTER (WHERE d.status = 'failed' AND coalesce(d.end_time, d.start_time) > now() - interval '1 hour') AS failures,
                             max(d.end_time) FILTER (WHERE d.status = 'succeeded') AS finished, max(d.runid) AS last_run
                      FROM cron.job_run_details d WHERE d.jobid = $1) r
                LEFT JOIN cron.job_run_details last ON last.runid = r.last_run $query$
            INTO last_start, last_end, last_status, last_message, failures, finished USING p.jobid;
        END IF;
        finished := greatest(finished, p.finished_at);
        base := greatest(finished, p.scheduled_at);
        overdue := coalesce(clock_timestamp() > p.slack + coalesce(referral.cron_next(p.schedule, base, f.timezone),
                                                                   referral.cron_next(p.planned, base, f.timezone)), true);
        next_expected := CASE WHEN p.active AND f.launcher THEN referral.cron_next(p.schedule, clock_timestamp(), f.timezone) END;
        error := nullif(CASE WHEN last_status = 'failed' THEN coalesce(last_message, '') END, '');
        problem := CASE
            WHEN f.here AND p.jobid IS NULL THEN 'not scheduled'
            WHEN f.here AND NOT p.active THEN 'inactive'
            WHEN f.here AND p.command <> p.wanted THEN 'runs another command; call referral.schedule_jobs()'
            WHEN p.schedule ~ '^\s*[^\s@]+(\s+\S+){5}' THEN 'its schedule has more than five fields: pg_cron ignores the others'
            WHEN last_status = 'failed' AND coalesce(finished <= coalesce(last_end, last_start), true) THEN 'failing: ' || coalesce(error, 'without a message')
            WHEN p.jobid IS NULL AND NOT beats THEN
                CASE WHEN elsewhere THEN 'unknown: its runs are recorded in database ' || quote_ident(f.cron_database)
                     ELSE 'not scheduled' END
            WHEN NOT beats AND NOT f.log_run THEN 'unknown: cron.log_run is off'
            WHEN overdue AND finished IS NOT NULL THEN 'stalled: nothing finished since ' || date_trunc('second', finished)
            WHEN overdue AND coalesce(last_start, p.started_at) IS NOT NULL THEN
                'stalled: nothing has finished, begun ' || date_trunc('second', coalesce(last_start, p.started_at))
            WHEN overdue AND p.jobid IS NULL AND NOT elsewhere THEN 'not scheduled'
            WHEN overdue THEN 'never ran'
            WHEN beats AND p.last_error IS NOT NULL THEN 'finished with errors: ' || split_part(p.last_error, E'\n', 1)
        END;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION referral.job_status_of() IS
'The jobs of this database, what pg_cron tells of them, and what is wrong. Read through the view job_status.';

REVOKE ALL ON FUNCTION referral.heartbeat_start(text, timestamptz), referral.heartbeat_end(text, bigint, bigint, bigint, bigint, text),
    referral.job_plan(), referral.cron_facts(), referral.cron_jobs(), referral.check_cron(text, boolean), referral.schedule_jobs(), referral.unschedule_jobs(),
    referral.job_status_of() FROM PUBLIC;

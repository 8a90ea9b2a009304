-- Tables, rivals and helpers of journal.bench.sh.
\ir lib.sql

-- ---------- Capture without a guard: 12 columns, 500 bytes, a primary key; an UPDATE of 2 columns is HOT ----------

CREATE FUNCTION bench.turn(round int, OUT first int, OUT status text, OUT amount text) LANGUAGE sql AS $$
    SELECT 1 + (round + 2) * 5000 % 100000, 'status ' || round % 2, (1000 + round) || '.50'
$$;

CREATE TABLE bench.record (
    id bigint PRIMARY KEY, org_id bigint NOT NULL, patient_id bigint, status text, amount numeric(12, 2), priority int,
    opened_at timestamptz, due_at timestamptz, code text, title text, note text, details text);
CREATE FUNCTION bench.record_row(i bigint) RETURNS bench.record LANGUAGE sql IMMUTABLE AS $$
    SELECT i, 1::bigint, i % 500, 'new', 100.25, 3, timestamptz '2026-08-20 09:00+00', timestamptz '2026-09-20 09:00+00',
           'I25.10', 'Chest pain on exertion', repeat('abnormal stress test, ', 6), repeat('seen by the cardiologist; ', 9)
$$;

CREATE FUNCTION bench.log_jsonb() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bench.log_jsonb (table_name, action, at, login, old_row, new_row)
    VALUES (TG_TABLE_NAME, TG_OP, clock_timestamp(), session_user,
            CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;
CREATE TABLE bench.log_jsonb (
    log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, table_name text NOT NULL, action text NOT NULL,
    at timestamptz NOT NULL, login text NOT NULL, old_row jsonb, new_row jsonb);

CREATE FUNCTION bench.log_composite() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bench.log_composite (action, at, login, old_row, new_row)
    VALUES (TG_OP, clock_timestamp(), session_user,
            CASE WHEN TG_OP <> 'INSERT' THEN OLD END, CASE WHEN TG_OP <> 'DELETE' THEN NEW END);
    RETURN NULL;
END $$;

-- A table of the rows, with an audit; and a loop of single-row updates over it.
CREATE FUNCTION bench.make_record(name text) RETURNS void LANGUAGE plpgsql AS $do$
BEGIN
    EXECUTE format('CREATE TABLE bench.%I (LIKE bench.record INCLUDING ALL) WITH (fillfactor = 40)', name);
    EXECUTE format('INSERT INTO bench.%I SELECT r.* FROM generate_series(1, 100000) i, bench.record_row(i) r', name);
    EXECUTE format($f$
CREATE PROCEDURE bench.loop_%1$s(first int, status text, amount numeric) LANGUAGE plpgsql AS $body$
BEGIN
    FOR i IN first .. first + 4999 LOOP
        UPDATE bench.%1$I t SET status = loop_%1$s.status, amount = loop_%1$s.amount WHERE t.id = i;
    END LOOP;
END $body$ $f$, name);
    IF name = 'ours' THEN
        PERFORM referral.track_table('bench.ours', 'ours', 'id', guarded => false);
    ELSIF name LIKE 'plpgsql%' THEN
        IF name = 'plpgsql_composite' THEN
            CREATE TABLE bench.log_composite (
                log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, action text NOT NULL,
                at timestamptz NOT NULL, login text NOT NULL, old_row bench.plpgsql_composite, new_row bench.plpgsql_composite);
        END IF;
        EXECUTE format('CREATE TRIGGER log AFTER INSERT OR UPDATE OR DELETE ON bench.%I FOR EACH ROW'
                       ' EXECUTE FUNCTION bench.log_%s()', name, substr(name, 9));
    ELSIF name = 'table_log' THEN
        CREATE EXTENSION table_log SCHEMA public;
        PERFORM public.table_log_init(5, 'bench', 'table_log', 'bench', 'log_table_log');
    END IF;
END $do$;

-- What others cost, as a multiple of no audit: measured earlier with such rows, CPU time, PostgreSQL 15.
CREATE TABLE bench.peer (peer text, one_row numeric, bulk_update numeric, bulk_insert numeric, bytes text);
INSERT INTO bench.peer VALUES
    ('PL/pgSQL row trigger, composite', 1.74, 2.93, 2.60, '1193'),
    ('PL/pgSQL row trigger, jsonb', 2.64, 4.71, 3.64, '1668'),
    ('PL/pgSQL statement trigger, jsonb', 2.82, 4.41, 2.73, '1661'),
    ('2ndQuadrant audit-trigger, hstore', 3.44, 5.98, 6.38, '1074'),
    ('2ndQuadrant audit-trigger, jsonb fork', 5.95, 12.5, 7.63, '1074'),
    ('table_log 0.6.3, old rows', 4.03, 7.93, 8.1, '608'),
    ('table_log 0.6.3, old and new rows', 6.66, 14.2, 8.4, '1216'),
    ('supa_audit 0.3.1', 9.02, 20.0, 17.9, '2110');

-- ---------- Journal rows in bulk ----------

-- Transactions that wrote no journal row, so that their ids are free for such rows and below every horizon to come.
CREATE TABLE bench.xids AS SELECT pg_current_xact_id()::text::bigint + 1 AS first_xid;
DO $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        PERFORM pg_current_xact_id();
        COMMIT;
    END LOOP;
END $$;

CREATE FUNCTION bench.take_ids(n bigint) RETURNS bigint LANGUAGE sql AS $$
    SELECT setval('referral.journal_journal_id_seq', nextval('referral.journal_journal_id_seq') + n) - n
$$;

-- Rows number "first" to "last" of an organisation, whose row 0 would have journal_id id0. Each is what a step of a
-- workflow looks like in the journal, so many in a transaction; live ones in the transaction at hand.
CREATE FUNCTION bench.journal_rows(org bigint, id0 bigint, first int, last int, live boolean, per_xid int)
RETURNS SETOF referral.journal
LANGUAGE sql STABLE AS $$
    SELECT org, id0 + i, 1 + i::bigint * 7919 % 1000003, (1 + i % 9)::bigint, 3::bigint, now(), clock_timestamp(),
           CASE WHEN live THEN pg_current_xact_id() ELSE (x.first_xid + i / per_xid)::text::xid8 END, e.xid_epoch,
           'ready_to_schedule'::referral.state, 'scheduled'::referral.state, 'referral', 'update', 'schedule',
           'ready_to_schedule', 'scheduled', 'maria.lopez', 'user', 'scheduling_app', 'scheduler', NULL::text, NULL::text,
           'request ' || i, jsonb_build_object('scheduled_for', jsonb_build_array(NULL, now()),
                'performer_id', jsonb_build_array(i % 300, i % 301))
    FROM bench.xids x, (SELECT max(xid_epoch) AS xid_epoch FROM referral.journal_epoch) e, generate_series(first, last) i
$$;

-- ---------- Proofs ----------

-- CPU time per call, where calls were measured one by one.
CREATE FUNCTION bench.single_calls(section text) RETURNS TABLE (
    what text, "CPU ms, median" numeric, "middle half" text, "95 %" numeric, "worst" numeric, calls bigint)
LANGUAGE sql AS $$
    SELECT variant, round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ns) / 1e6)::numeric, 3),
           format('%s to %s', round((percentile_cont(0.25) WITHIN GROUP (ORDER BY ns) / 1e6)::numeric, 3),
                  round((percentile_cont(0.75) WITHIN GROUP (ORDER BY ns) / 1e6)::numeric, 3)),
           round((percentile_cont(0.95) WITHIN GROUP (ORDER BY ns) / 1e6)::numeric, 3), round(max(ns)::numeric / 1e6, 3),
           count(*)
    FROM bench.result r WHERE r.section = single_calls.section GROUP BY variant ORDER BY 2
$$;

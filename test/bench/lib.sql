-- What the benchmarks share.
SET client_min_messages = warning;
CREATE SCHEMA bench;

-- ---------- Measuring: CPU time of this very backend, in ns ----------

CREATE FUNCTION bench.cpu() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS
$$ SELECT split_part(pg_read_file('/proc/self/schedstat'), ' ', 1)::bigint $$;

CREATE TABLE bench.result (section text, round int, variant text, ns float8, n int);
CREATE FUNCTION bench.stop(section text, round int, variant text, n int, started bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    ns bigint := bench.cpu() - started;
BEGIN
    IF round >= 0 THEN
        INSERT INTO bench.result VALUES (section, round, variant, ns, n);
    END IF;
END $$;

-- ---------- A table like the journal: the same partitions, and the same indexes or others ----------

CREATE FUNCTION bench.make_journal(name text, indexes text[] DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part record;
    index text;
BEGIN
    EXECUTE format('CREATE TABLE bench.%I (LIKE referral.journal INCLUDING ALL %s) PARTITION BY RANGE (recorded_at)', name,
                   CASE WHEN indexes IS NOT NULL THEN 'EXCLUDING INDEXES' END);
    FOREACH index IN ARRAY coalesce(indexes, '{}') LOOP
        EXECUTE format(index, format('bench.%I', name));
    END LOOP;
    FOR part IN SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound
                FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'referral.journal'::regclass LOOP
        EXECUTE format('CREATE TABLE bench.%I PARTITION OF bench.%I %s', name || substr(part.relname, 8), name, part.bound);
    END LOOP;
END $$;

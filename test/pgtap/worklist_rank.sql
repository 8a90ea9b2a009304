-- Ranks: scores are those of the rules in force, whoever was quick; told exactly, and so that a coordinator can read them.
SELECT plan(47);
SET referral.org_id = 1;
SET client_min_messages = error;
UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name IN ('routing/standard', 'approval/standard', 'exception/standard');

CREATE FUNCTION public.outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END $$;
-- A draft of a set of its own with one rule; factor() activates it too.
CREATE FUNCTION public.draft(name text, kind text, points numeric, date_field text DEFAULT NULL, horizon interval DEFAULT '30 days', org bigint DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) SELECT 'rank/' || $1, 'ranking' WHERE NOT EXISTS (SELECT FROM referral.rule_set s WHERE s.name = 'rank/' || $1);
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT rule_set_id, true FROM referral.rule_set s WHERE s.name = 'rank/' || $1 RETURNING rule_version_id INTO v;
    INSERT INTO referral.ranking_factor (rule_version_id, name, kind, points, date_field, horizon, scope_org_id) VALUES (v, $1, $2, $3, $4, $5, $6);
    RETURN v;
END $$;
CREATE FUNCTION public.factor(name text, kind text, points numeric, date_field text DEFAULT NULL, horizon interval DEFAULT '30 days', org bigint DEFAULT NULL) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v bigint := public.draft($1, $2, $3, $4, $5, $6);
BEGIN
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = v;
    RETURN v;
END $$;
CREATE FUNCTION public.retire(v bigint) RETURNS void LANGUAGE sql AS $$ UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = v $$;
CREATE FUNCTION public.come() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO referral.referral (patient_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id INTO id;
    RETURN (SELECT work_item_id FROM referral.work_item WHERE referral_id = id AND is_primary);
END $$;
CREATE FUNCTION public.stale() RETURNS bigint LANGUAGE sql AS
$$ SELECT count(*) FROM referral.work_item i WHERE closed_at IS NULL AND score IS DISTINCT FROM referral.rank_now(i) $$;
CREATE FUNCTION public.explained(item bigint, at timestamptz, factor text) RETURNS text LANGUAGE sql AS
$$ SELECT x.value || ': ' || trim_scale(x.points) FROM referral.explain_rank(1, item, at) x WHERE x.factor = explained.factor $$;
INSERT INTO referral.patient (family) VALUES ('Doe');
INSERT INTO referral.referral (patient_id, specialty) SELECT 1, 'cardiology' FROM generate_series(1, 5);
CALL referral.tick();

-- 1. Rules that are active for a moment

SELECT public.factor('moment', 'points', 777) AS v \gset
SELECT public.come() AS item \gset
SELECT public.retire(:v) \g /dev/null
SELECT is(public.stale(), 1::bigint, 'what came while the rule was active is ranked by it');
SELECT is((SELECT points FROM referral.explain_rank(1, :item) WHERE factor = 'not ranked anew yet'), 777.000000, 'as is told');
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, :item)), referral.rank_score(1, :item), 'so that it sums up all the same');
CALL referral.tick();
SELECT is(public.stale(), 0::bigint, 'until tick() has ranked all by the rules of now, though they are those of before');
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, :item)), referral.rank_score(1, :item), 'so that what is explained is the score');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
CALL referral.tick();
SELECT public.retire(:v) \g /dev/null
CALL referral.tick();
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
SELECT public.come() \g /dev/null
SELECT is(public.stale(), 6::bigint, 'the same version, active once more');
SELECT public.retire(:v) \g /dev/null
CALL referral.tick();
SELECT is(public.stale(), 0::bigint, 'is told from its former times');
SELECT referral.ranking_key() AS key \gset
SELECT set_config('timezone', 'Asia/Tokyo', false), set_config('datestyle', 'german', false) \g /dev/null
SELECT is(referral.ranking_key(), :key::bigint, 'how times are written makes no difference');
RESET timezone;
RESET datestyle;
SELECT public.draft('later', 'points', 1) \g /dev/null
SELECT is(referral.ranking_key(), :key::bigint, 'nor does a draft');

-- 2. All are ranked twice: transactions that are still running may rank by the former rules

DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        PERFORM referral.refresh_all_ranks(now(), 1000);
        EXIT WHEN (SELECT after_id IS NULL AND again_after IS NULL FROM referral.rank_progress WHERE org_id = 1);
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
END $$;
SELECT results_eq('SELECT after_id, again_after FROM referral.rank_progress WHERE org_id = 1', 'SELECT NULL::bigint, NULL::xid8', 'in the end nothing is left to be ranked');
SELECT is(referral.refresh_ranks(1, 100), 0, 'and nothing is');
UPDATE referral.rank_progress SET again_after = pg_current_xact_id() WHERE org_id = 1;
UPDATE referral.work_item SET score = score + 1 WHERE work_item_id = :item;
DO $$
BEGIN
    FOR i IN 1 .. 100 LOOP
        PERFORM referral.refresh_all_ranks(now(), 1000);
        EXIT WHEN (SELECT again_after IS NULL FROM referral.rank_progress WHERE org_id = 1);
        PERFORM pg_sleep(0.1);
        COMMIT;
    END LOOP;
END $$;
SELECT is(public.stale(), 0::bigint, 'once more, when the transactions of then are over');
UPDATE referral.rank_progress SET again_after = '18446744073709551000' WHERE org_id = 1;
SELECT cmp_ok(referral.refresh_all_ranks(now(), 1000), '>', 0::bigint, 'at once where their numbers are those of another cluster, as after a restore');
BEGIN;
SELECT pg_current_xact_id() \g /dev/null
UPDATE referral.rank_progress SET again_after = referral.next_xact() WHERE org_id = 1;
SELECT is(referral.refresh_all_ranks(now(), 1000), 0::bigint, 'not before');
ROLLBACK;

-- 3. What is explained can be read

UPDATE referral.rule_version v SET status = 'retired' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'ranking/standard' AND v.status = 'active';
SELECT public.factor('appointment', 'per_day', 10, 'scheduled_for', '30 days') AS appointment \gset
SELECT public.come() AS item \gset
SELECT referral_id AS id, opened_at AS opened FROM referral.work_item WHERE work_item_id = :item \gset
SELECT matches(public.explained(:item, :'opened', 'appointment'), '^scheduled_for ....-..-.. ..:.. UTC, in 30.0 days \(assumed\): 0$', 'a date that is not known counts nothing at first');
SELECT matches(public.explained(:item, :'opened'::timestamptz + '36 hours', 'appointment'), '^scheduled_for ....-..-.. ..:.. UTC, in 28.5 days \(assumed\): 15$', 'and then as all items do');
SET session_replication_role = replica;
UPDATE referral.referral SET scheduled_for = '2026-12-24 09:00Z' WHERE referral_id = :id;
RESET session_replication_role;
SELECT referral.refresh_rank(1, :id) \g /dev/null
SELECT is(public.explained(:item, '2026-12-19 09:00Z', 'appointment'), 'scheduled_for 2026-12-24 09:00 UTC, in 5.0 days: 250', 'one that is near counts for the days that it is nearer than the horizon');
SELECT is(public.explained(:item, '2026-12-25 21:00Z', 'appointment'), 'scheduled_for 2026-12-24 09:00 UTC, 1.5 days ago: 315', 'more when it has passed');
SELECT is(public.explained(:item, '2026-11-23 09:00Z', 'appointment'), 'scheduled_for 2026-12-24 09:00 UTC, in 31.0 days: -10', 'less when it is further off');
SET TimeZone = 'America/Chicago';
SELECT is(public.explained(:item, '2026-12-19 09:00Z', 'appointment'), 'scheduled_for 2026-12-24 03:00 CST, in 5.0 days: 250', 'dates are told in the time zone of who asks');
SET TimeZone = 'UTC';
SELECT is((SELECT score FROM referral.work_item WHERE work_item_id = :item), -10 * (extract(epoch FROM '2026-12-24 09:00Z'::timestamptz) / 86400)::float8, 'the score itself has neither the time nor the horizon in it');
SELECT is(referral.rank_score(1, :item, '2026-12-19 09:00Z'), 250.000000, 'which the points have');
SELECT is(referral.date_seen_from('infinity', now()), 'infinity', 'a date that never comes');

-- 4. Exactly, at all bounds

SELECT public.retire(:appointment) \g /dev/null
SELECT lives_ok($$SELECT public.factor('a', 'per_day', 9999.9999, 'due_at', '100 years'), public.factor('b', 'per_day', -9999.999999, 'received_at', '-100 years'),
    public.factor('c', 'points', 999999.123457), public.factor('d', 'points', 0.000001)$$, 'rules up to the bounds');
SELECT public.come() AS item \gset
UPDATE referral.work_item SET due_at = 'infinity' WHERE work_item_id = :item;
UPDATE referral.work_item i SET score = referral.rank_now(i) WHERE work_item_id = :item;
SELECT is((SELECT sum(points) FROM referral.explain_rank(1, :item, at)), referral.rank_score(1, :item, at), 'what is explained sums up at ' || at)
FROM unnest('{2027-03-01 10:11:12.345678Z,1970-01-01Z,-infinity,infinity}'::timestamptz[]) at;
SELECT cmp_ok((SELECT abs(score) FROM referral.work_item WHERE work_item_id = :item), '>', 1e8::float8, 'of a score that is large');
SELECT is(public.outcome($$SELECT public.factor('e', 'per_day', 1, 'opened_at')$$), 'RF011', 'rules of other sets count when one becomes active');
SELECT is(public.outcome($$SELECT public.factor('e', 'per_day', 0.00005, 'opened_at', '1 day', 1)$$), 'ok', 'those of an organisation');
SELECT is(public.outcome($$SELECT public.factor('f', 'per_day', 0.00005, 'opened_at', '1 day', 2)$$), 'ok', 'each for itself');
CREATE FUNCTION public.many(n integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v bigint := public.draft('many', 'points', 0);
BEGIN
    INSERT INTO referral.ranking_factor (rule_version_id, name, kind, points) SELECT v, g, 'points', 1000000 FROM generate_series(1, n) g;
    PERFORM referral.check_rule_version(v);
END $$;
SELECT is(public.outcome('SELECT public.many(100)'), 'ok', 'the rules of a version');
SELECT is(public.outcome('SELECT public.many(101)'), 'RF011', 'are added up when it is submitted');

-- 5. What is ranked anew when something changes

UPDATE referral.rule_version SET status = 'retired' WHERE status = 'active' AND rule_set_id IN (SELECT rule_set_id FROM referral.rule_set WHERE name LIKE 'rank/%');
UPDATE referral.rule_version v SET status = 'active' FROM referral.rule_set s WHERE s.rule_set_id = v.rule_set_id AND s.name = 'ranking/standard';
CALL referral.tick();
INSERT INTO referral.referral (patient_id, specialty) SELECT 1, 'cardiology' FROM generate_series(1, 50);
SELECT referral.open_exception(1, 'policy', 'referral', referral_id, referral_id, 'x', NULL, 'low') FROM referral.referral \g /dev/null
UPDATE referral.referral SET urgency = 'stat';
SELECT is(public.stale(), 0::bigint, 'a change of many rows, with all items that serve them');
SELECT is((SELECT count(*) FROM referral.work_item i WHERE closed_at IS NULL AND referral_id IS NOT NULL AND EXISTS (SELECT FROM referral.explain_rank(1, i.work_item_id) WHERE factor = 'stat')),
    (SELECT 2 * count(*) FROM referral.referral), 'each');
SELECT is((SELECT count(*) FROM referral.work_item i WHERE entity = 'referral' AND closed_at IS NULL AND due_at IS DISTINCT FROM
    (SELECT min(due_at) FROM referral.sla_clock c WHERE c.entity_id = i.entity_id AND c.entity = 'referral' AND stopped_at IS NULL AND nullified_at IS NULL)), 0::bigint, 'due by the first of the clocks');
SELECT max(exception_id) AS exception FROM referral.exception_item \gset
UPDATE referral.exception_item SET due_at = '2027-05-05Z' WHERE exception_id = :exception;
SELECT is((SELECT due_at FROM referral.work_item WHERE entity = 'exception_item' AND entity_id = :exception), '2027-05-05Z'::timestamptz, 'an item is due when its row says so');
UPDATE referral.exception_item SET due_at = NULL WHERE exception_id = :exception;
SELECT is((SELECT due_at FROM referral.work_item WHERE entity = 'exception_item' AND entity_id = :exception), NULL, 'or no longer');
SELECT is(public.stale(), 0::bigint, 'and ranked by it');
UPDATE referral.work_item SET score = 0 WHERE work_item_id = (SELECT min(work_item_id) FROM referral.work_item WHERE closed_at IS NULL);
SELECT results_eq('SELECT referral.refresh_item(i) FROM referral.work_item i WHERE closed_at IS NULL ORDER BY work_item_id LIMIT 3', '{true,false,false}'::boolean[], 'only what is another is written');

-- 6. A row with the number of one that was deleted without triggers

INSERT INTO referral.queue_member (org_id, queue_id, member) SELECT org_id, queue_id, current_user FROM referral.queue;
SELECT work_item_id AS item, referral_id AS id FROM referral.work_item WHERE is_primary AND closed_at IS NULL ORDER BY 1 DESC LIMIT 1 \gset
SELECT referral.claim(1, :item) \g /dev/null
SET session_replication_role = replica;
DELETE FROM referral.referral WHERE referral_id = :id;
RESET session_replication_role;
SELECT is(public.outcome(format('INSERT INTO referral.referral (referral_id, patient_id, specialty, urgency) VALUES (%s, 1, ''oncology'', ''urgent'')', :id)), 'ok', 'comes in');
SELECT results_eq(format('SELECT status::text, outcome FROM referral.work_item WHERE work_item_id = %s', :item), $$VALUES ('cancelled', 'the row was deleted')$$, 'the item of the former one is closed');
SELECT is((SELECT count(*) FROM referral.work_item WHERE referral_id = :id AND is_primary AND closed_at IS NULL AND owner IS NULL), 1::bigint, 'and the row has its own, which nobody has yet');
SELECT is((SELECT count(*) FROM referral.unowned_referral), 0::bigint, 'nothing is without one');
SELECT is(public.stale(), 0::bigint, 'ranked');
SELECT is((SELECT count(*) FROM referral.work_item WHERE referral_id = :id AND entity = 'exception_item' AND closed_at IS NULL), 1::bigint, 'what is about other rows stays');

SELECT * FROM finish();

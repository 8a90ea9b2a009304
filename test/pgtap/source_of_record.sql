-- Which system keeps which attribute: what others write is refused or set aside; merging and the engine go on.
SELECT plan(116);
\ir ../lib/refused.sql

CREATE FUNCTION public.code(statement text) RETURNS text LANGUAGE sql AS 'SELECT code FROM public.refused(statement)';
-- a new version of the rule set, in force from now on: rows of (entity, attribute, owner, policy, org)
CREATE FUNCTION public.kept(VARIADIC rules text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    INSERT INTO referral.rule_set (name, kind) VALUES ('source_of_record/standard', 'source_of_record') ON CONFLICT (name) DO NOTHING;
    INSERT INTO referral.rule_version (rule_set_id, is_seed) SELECT s.rule_set_id, true FROM referral.rule_set s
    WHERE s.name = 'source_of_record/standard' RETURNING rule_version_id INTO id;
    INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system, policy, scope_org_id)
    SELECT id, p[1], nullif(p[2], '*'), p[3], p[4], p[5]::bigint FROM unnest(rules) r CROSS JOIN LATERAL string_to_array(r, ' ') p;
    UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = id;
END $$;
CREATE FUNCTION public.patient(id bigint) RETURNS text LANGUAGE sql AS
    'SELECT concat_ws('' '', given, family, phone, city, birth_date, version) FROM referral.patient WHERE org_id = 1 AND patient_id = id';

CREATE ROLE source_of_record_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE source_of_record_admin LOGIN IN ROLE referral_admin;
CREATE ROLE source_of_record_bot LOGIN IN ROLE referral_admin;
CREATE ROLE source_of_record_ehr LOGIN IN ROLE referral_integration;
CREATE ROLE source_of_record_feed LOGIN IN ROLE referral_integration;
CREATE ROLE source_of_record_other LOGIN IN ROLE referral_admin;
SET referral.org_id = 1;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Two');
INSERT INTO referral.organization_member (org_id, login, actor_kind) VALUES
    (1, 'source_of_record_jane', 'user'), (1, 'source_of_record_admin', 'user'), (1, 'source_of_record_bot', 'ai'),
    (1, 'source_of_record_ehr', 'system'), (1, 'source_of_record_feed', 'system'), (2, 'source_of_record_other', 'user');
INSERT INTO referral.patient (patient_id, given, family, phone, city, birth_date) VALUES (1, 'Jo', 'Smith', '1', 'Rome', '1980-01-01'), (2, 'Jo', 'Smith', '2', 'Rome', '1980-01-01');
INSERT INTO referral.patient (org_id, patient_id, given, family) VALUES (2, 3, 'Al', 'Jones');

-- 1. Without rules everybody writes

UPDATE referral.patient SET family = 'Smyth' WHERE patient_id = 1;
SELECT is(public.patient(1), 'Jo Smyth 1 Rome 1980-01-01 2', 'without rules everybody writes everything');
SELECT is_empty($$SELECT * FROM referral.foreign_attributes(1, 'patient')$$, 'nothing is foreign');
SELECT is_empty($$SELECT * FROM referral.source_of_record$$, 'no rules are shipped');

-- 2. Refused

SELECT public.kept('patient family EHR refuse', 'patient birth_date EHR refuse', 'referral state EHR refuse') \g /dev/null
SELECT results_eq($$SELECT code, message, detail, hint FROM public.refused('UPDATE referral.patient SET family = ''Secret'' WHERE patient_id = 1')$$,
    $$VALUES ('RF009', 'family of patient 1 is kept by another system', 'Attribute patient.family belongs to "EHR"; the change comes from "local".', 'Have it changed in "EHR", or leave the attribute out.')$$,
    'what another system keeps is refused, without the value');
SELECT is(public.code('UPDATE referral.patient SET birth_date = NULL WHERE patient_id = 1'), 'RF009', 'emptying it, too');
SELECT is(public.code('UPDATE referral.patient SET family = ''Smyth'', city = ''Oslo'' WHERE patient_id = 1'), 'done', 'the same value is no change');
SELECT is(public.code('UPDATE referral.patient SET city = ''Oslo'' WHERE patient_id = 1'), 'done', 'what nobody keeps, everybody writes');
SET referral.origin = 'LAB';
SELECT is(public.code('UPDATE referral.patient SET family = ''X'' WHERE patient_id = 1'), 'RF009', 'a third system does not write it');
SET referral.origin = 'EHR';
SELECT is(public.code('UPDATE referral.patient SET family = ''X'', birth_date = ''1981-01-01'' WHERE patient_id = 1'), 'done', 'the system itself does');
SELECT is_empty($$SELECT * FROM referral.foreign_attributes(1, 'patient')$$, 'to it nothing is foreign');
SET referral.origin = 'ehr';
SELECT is(public.code('UPDATE referral.patient SET family = ''X'' WHERE patient_id = 1'), 'RF009', 'by its very name');
RESET referral.origin;
SELECT results_eq($$SELECT * FROM referral.foreign_attributes(1, 'patient') ORDER BY 1$$, $$VALUES ('birth_date', 'EHR', 'refuse'), ('family', 'EHR', 'refuse')$$, 'what is foreign can be asked');
SELECT is_empty($$SELECT * FROM referral.foreign_attributes(1, 'nothing')$$, 'of an entity that there is not, nothing is');
SELECT is_empty($$SELECT * FROM referral.foreign_attributes(NULL, 'patient')$$, 'of null neither');
INSERT INTO referral.patient (patient_id, family) VALUES (10, 'New') ON CONFLICT (org_id, patient_id) DO UPDATE SET family = excluded.family;
SELECT is(public.code($$INSERT INTO referral.patient (patient_id, family) VALUES (10, 'Newer') ON CONFLICT (org_id, patient_id) DO UPDATE SET family = excluded.family$$), 'RF009',
    'who writes first may; who writes again is asked, also by way of an INSERT');

-- 3. Steps

INSERT INTO referral.referral (referral_id, patient_id, specialty, requester_id) VALUES (1, 1, 'cardiology', NULL);
SELECT is(public.code($$UPDATE referral.referral SET state = 'cancelled', status_reason = 'duplicate' WHERE referral_id = 1$$), 'RF009', 'a state that is kept elsewhere does not change here');
SELECT is(public.code($$UPDATE referral.referral SET step = 'cancelled' WHERE referral_id = 1$$), 'RF009', 'nor does the step');
SELECT is(public.code($$UPDATE referral.referral SET urgency = 'urgent' WHERE referral_id = 1$$), 'done', 'the rest does');
SET referral.origin = 'EHR';
SELECT isnt(public.code($$UPDATE referral.referral SET state = 'cancelled' WHERE referral_id = 1$$), 'RF009', 'its system takes the step, if the workflow lets it');
RESET referral.origin;

-- 4. Set aside

SELECT public.kept('patient phone EHR quarantine', 'patient alias EHR quarantine', 'patient birth_date EHR quarantine', 'patient city local quarantine') \g /dev/null
SELECT is(public.code('UPDATE referral.patient SET family = ''X'' WHERE patient_id = 1'), 'done', 'new rules hold at once, the former do not');
SELECT max(journal_id) AS before FROM referral.journal \gset
UPDATE referral.patient SET phone = '555', alias = '{Joe,Jojo}', birth_date = NULL WHERE patient_id = 1;
SELECT is(public.patient(1), 'Jo Smyth 1 Rome 1980-01-01 2', 'the row keeps its values, and its version');
SELECT results_eq(format('SELECT entity, action FROM referral.journal WHERE journal_id > %s AND entity = ''patient''', :before), 'SELECT ''''::text, ''''::text WHERE false', 'the journal has nothing of it');
SELECT results_eq('SELECT entity, entity_id, attribute, attempted, origin, owner_system, attempted_by, status FROM referral.rejected_write ORDER BY attribute',
    $$VALUES ('patient', 1::bigint, 'alias', '["Joe", "Jojo"]'::jsonb, 'local', 'EHR', 'postgres', 'open'), ('patient', 1, 'birth_date', 'null', 'local', 'EHR', 'postgres', 'open'),
             ('patient', 1, 'phone', '"555"', 'local', 'EHR', 'postgres', 'open')$$, 'what was to be written is set aside');
UPDATE referral.patient SET phone = '555', given = 'Joanna' WHERE patient_id = 1;
SELECT is(public.patient(1), 'Joanna Smyth 1 Rome 1980-01-01 3', 'the rest of an UPDATE goes on');
SELECT is((SELECT version FROM referral.rejected_write WHERE attribute = 'phone'), 1::bigint, 'the same again is no news');
UPDATE referral.patient SET phone = '556' WHERE patient_id = 1;
SELECT results_eq('SELECT attempted, version FROM referral.rejected_write WHERE attribute = ''phone''', $$VALUES ('"556"'::jsonb, 2::bigint)$$, 'another value is, in the same row');
SET referral.origin = 'LAB';
UPDATE referral.patient SET phone = '557', city = 'Oslo' WHERE patient_id IN (1, 2);
SELECT results_eq('SELECT entity_id, attribute, attempted, owner_system FROM referral.rejected_write WHERE origin = ''LAB'' ORDER BY 1, 2',
    $$VALUES (1::bigint, 'city', '"Oslo"'::jsonb, 'local'), (1, 'phone', '"557"', 'EHR'), (2, 'city', '"Oslo"', 'local'), (2, 'phone', '"557"', 'EHR')$$, 'each row and each origin by itself; what is kept here is safe, too');
SET referral.origin = 'EHR';
UPDATE referral.patient SET phone = '600' WHERE patient_id = 1;
SELECT is(public.patient(1), 'Joanna Smyth 600 Rome 1980-01-01 4', 'its system writes');
RESET referral.origin;
UPDATE referral.patient SET city = 'Bergen' WHERE patient_id = 1;
SELECT is(public.patient(1), 'Joanna Smyth 600 Bergen 1980-01-01 5', 'people here write what is kept here');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'rejected_write' AND changes::text ~ '"55[567]"'), 0::bigint, 'what was set aside is not in the journal');
UPDATE referral.patient SET phone = '700' WHERE patient_id = 1 AND false;
BEGIN;
UPDATE referral.patient SET phone = '700' WHERE patient_id = 2;
ROLLBACK;
SELECT is((SELECT count(*) FROM referral.rejected_write WHERE attempted = '"700"'), 0::bigint, 'what is undone was not tried');

SELECT results_eq($$SELECT entity_id, category::text, severity, detail FROM referral.exception_queue WHERE code = 'rejected_write' ORDER BY 1$$,
    $$VALUES (1::bigint, 'policy', 'low', 'alias of local, kept by EHR; birth_date of local, kept by EHR; city of LAB, kept by local; phone of LAB, kept by EHR; phone of local, kept by EHR'),
             (2, 'policy', 'low', 'city of LAB, kept by local; phone of LAB, kept by EHR')$$, 'the queue tells a person of it, without values');

-- 5. Decisions about what was set aside

SELECT rejected_write_id AS phone FROM referral.rejected_write WHERE attribute = 'phone' AND origin = 'local' \gset
SELECT rejected_write_id AS alias FROM referral.rejected_write WHERE attribute = 'alias' \gset
SELECT rejected_write_id AS born FROM referral.rejected_write WHERE attribute = 'birth_date' \gset
SET SESSION AUTHORIZATION source_of_record_jane;
SELECT is((SELECT count(*) FROM referral.rejected_write WHERE status = 'open'), 7::bigint, 'coordinators see it');
SELECT is(public.code(format('SELECT referral.accept_rejected_write(1, %s, ''x'')', :phone)), '42501', 'but do not decide');
SELECT is(public.code('UPDATE referral.rejected_write SET status = ''accepted'''), '42501', 'nor write there');
SELECT is(public.code($$INSERT INTO referral.rejected_write (entity, entity_id, attribute, attempted, origin, owner_system) VALUES ('patient', 1, 'active', 'false', 'x', 'x')$$), '42501', 'anything');
SET SESSION AUTHORIZATION source_of_record_bot;
SELECT is(public.code(format('SELECT referral.accept_rejected_write(1, %s, ''x'')', :phone)), 'RF003', 'an AI does not');
SET SESSION AUTHORIZATION source_of_record_other;
SET referral.org_id = 2;
SELECT is(public.code(format('SELECT referral.accept_rejected_write(1, %s, ''x'')', :phone)), 'RF019', 'another organisation does not');
SELECT is((SELECT count(*) FROM referral.rejected_write), 0::bigint, 'and does not see it');
SET referral.org_id = 1;
SET SESSION AUTHORIZATION source_of_record_admin;
SELECT is(public.code(format('SELECT referral.accept_rejected_write(1, %s, '' '')', :phone)), 'RF005', 'a reason is required');
SELECT is(public.code('SELECT referral.accept_rejected_write(1, 999, ''x'')'), 'RF019', 'and a row');
SELECT is(public.code('SELECT referral.accept_rejected_write(NULL, NULL, ''x'')'), 'RF019', 'not null');
SELECT referral.accept_rejected_write(1, :phone, 'the patient says so') \g /dev/null
SELECT referral.accept_rejected_write(1, :alias, 'the patient says so') \g /dev/null
SELECT referral.accept_rejected_write(1, :born, 'it was a guess') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is(public.patient(1), 'Joanna Smyth 556 Bergen 8', 'a person may make the change all the same');
SELECT is((SELECT alias FROM referral.patient WHERE patient_id = 1), '{Joe,Jojo}', 'whatever type it is of');
SELECT results_eq($$SELECT actor, reason, changes FROM referral.journal WHERE entity = 'patient' AND entity_id = 1 AND version = 6$$,
    $$VALUES ('source_of_record_admin', 'the patient says so', '{"phone": ["600", "556"]}'::jsonb)$$, 'the journal has who and why');
SELECT results_eq(format('SELECT status, decided_by, reason, decided_at IS NOT NULL FROM referral.rejected_write WHERE rejected_write_id = %s', :phone),
    $$VALUES ('accepted', 'source_of_record_admin', 'the patient says so', true)$$, 'so has the row');
SET SESSION AUTHORIZATION source_of_record_admin;
SELECT is(public.code(format('SELECT referral.accept_rejected_write(1, %s, ''x'')', :phone)), 'RF001', 'once');
SELECT is(public.code(format('SELECT referral.discard_rejected_write(1, %s, ''x'')', :phone)), 'RF001', 'not one way and then the other');
SELECT referral.discard_rejected_write(1, (SELECT rejected_write_id FROM referral.rejected_write WHERE entity_id = 2 AND attribute = 'phone'), 'the lab does not know') \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT is((SELECT phone FROM referral.patient WHERE patient_id = 2), '2', 'what is discarded stays undone');
SELECT is((SELECT status FROM referral.rejected_write WHERE entity_id = 2 AND attribute = 'phone'), 'discarded', 'and on record');
SELECT results_eq($$SELECT entity_id, detail FROM referral.exception_queue WHERE code = 'rejected_write' ORDER BY 1$$,
    $$VALUES (1::bigint, 'city of LAB, kept by local; phone of LAB, kept by EHR'), (2, 'city of LAB, kept by local')$$, 'the queue has what still waits');
SET SESSION AUTHORIZATION source_of_record_admin;
SELECT referral.discard_rejected_write(1, rejected_write_id, 'no') FROM referral.rejected_write WHERE entity_id = 2 AND status = 'open' \g /dev/null
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT status, resolution, resolved_by FROM referral.exception_item WHERE code = 'rejected_write' AND entity_id = 2$$, $$VALUES ('resolved', 'discarded', 'source_of_record_admin')$$, 'and closes it with the last');
UPDATE referral.patient SET phone = '800' WHERE patient_id = 1;
SELECT is((SELECT count(*) FROM referral.rejected_write WHERE entity_id = 1 AND attribute = 'phone' AND origin = 'local'), 2::bigint, 'a new attempt is a new row');
SELECT is(current_setting('referral.source_override'), 'off', 'nothing is left of it');

-- 6. Whom the origin is believed

INSERT INTO referral.source_system (source, logins) VALUES ('EHR', '{source_of_record_ehr}'), ('LAB', NULL);
SELECT public.kept('patient family EHR refuse', 'patient phone LAB refuse', 'patient city local refuse') \g /dev/null
SET referral.origin = 'EHR';
SELECT results_eq($$SELECT code, detail FROM public.refused('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1')$$,
    $$VALUES ('RF009', 'Attribute patient.family belongs to "EHR", whose changes come by other logins (source_system.logins).')$$, 'a system with logins is not believed to others');
SET SESSION AUTHORIZATION source_of_record_feed;
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'RF009', 'not to another interface');
SET referral.origin = 'LAB';
SELECT is(public.code('UPDATE referral.patient SET phone = ''9'' WHERE patient_id = 1'), 'done', 'one without logins is');
SET referral.origin = '';
SELECT is(public.code('UPDATE referral.patient SET city = ''Q'' WHERE patient_id = 1'), 'done', 'a login that is nobody''s, without an origin, counts as here');
SET SESSION AUTHORIZATION source_of_record_ehr;
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'done', 'a login of a system writes for it, without an origin, too');
SELECT is(public.code('UPDATE referral.patient SET city = ''Q'' WHERE patient_id = 1'), 'RF009', 'and never counts as here');
SET referral.origin = 'local';
SELECT is(public.code('UPDATE referral.patient SET city = ''Q'' WHERE patient_id = 1'), 'RF009', 'by whatever name');
SET referral.origin = 'EHR';
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'done', 'with its origin, of course');
SET referral.source_override = on;
SELECT is(public.code('UPDATE referral.patient SET city = ''Q'' WHERE patient_id = 1'), 'RF009', 'a session cannot switch it off');
RESET referral.source_override;
RESET referral.origin;
RESET SESSION AUTHORIZATION;
SET referral.source_override = on;
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'RF009', 'nor the owner''s');
RESET referral.source_override;
-- functions of others that run with the owner's rights, as far as they have them
CREATE FUNCTION public.as_owner(statement text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN public.code(statement); END $$;
SET SESSION AUTHORIZATION source_of_record_feed;
SET referral.source_override = on;
SELECT is(public.as_owner('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'RF009', 'nor for a function of the owner''s that it calls');
RESET referral.source_override;
RESET SESSION AUTHORIZATION;
ALTER FUNCTION public.as_owner(text) SET referral.source_override = on;
SET SESSION AUTHORIZATION source_of_record_feed;
SELECT is(public.as_owner('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'done', 'the function itself can');
RESET SESSION AUTHORIZATION;
UPDATE referral.source_system SET logins = NULL WHERE source = 'EHR';
SET referral.origin = 'EHR';
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'done', 'logins that change hold at once');
UPDATE referral.source_system SET logins = '{source_of_record_ehr}', active = false WHERE source = 'EHR';
SELECT is(public.code('UPDATE referral.patient SET family = ''R'' WHERE patient_id = 1'), 'RF009', 'a system that is switched off is not believed to others');
SET SESSION AUTHORIZATION source_of_record_ehr;
SELECT is(public.code('UPDATE referral.patient SET family = ''R'' WHERE patient_id = 1'), 'RF009', 'nor to its own logins');
SET referral.origin = '';
SELECT is(public.code('UPDATE referral.patient SET city = ''R'' WHERE patient_id = 1'), 'RF009', 'which do not count as here now');
RESET SESSION AUTHORIZATION;
UPDATE referral.source_system SET logins = NULL WHERE source = 'EHR';
SET referral.origin = 'EHR';
SELECT is(public.code('UPDATE referral.patient SET family = ''R'' WHERE patient_id = 1'), 'RF009', 'nor without logins to anybody');
UPDATE referral.source_system SET active = true WHERE source = 'EHR';
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE patient_id = 1'), 'done', 'until it is switched on again');
RESET referral.origin;

-- 7. Every attribute, one organisation

SELECT public.kept('patient * EHR refuse', 'patient phone LAB quarantine', 'patient * CRM refuse 2', 'patient email local refuse 2') \g /dev/null
SELECT is(public.code('UPDATE referral.patient SET postal_code = ''1'' WHERE patient_id = 1'), 'RF009', 'a system may keep a whole row');
UPDATE referral.patient SET phone = '811' WHERE patient_id = 1;
SELECT is((SELECT phone FROM referral.patient WHERE patient_id = 1), '556', 'but for what has a rule of its own');
SET referral.origin = 'CRM';
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE org_id = 2'), 'done', 'an organisation may have rules of its own');
SELECT is(public.code('UPDATE referral.patient SET phone = ''7'' WHERE org_id = 2'), 'done', 'which come before those of all');
SELECT is(public.code('UPDATE referral.patient SET email = ''7'' WHERE org_id = 2'), 'RF009', 'within them the attribute before the rest');
SELECT is(public.code('UPDATE referral.patient SET family = ''Q'' WHERE org_id = 1'), 'RF009', 'for itself alone');
RESET referral.origin;
SELECT ok((SELECT bool_and(f.owner_system = CASE f.attribute WHEN 'phone' THEN 'LAB' ELSE 'EHR' END) AND count(*) > 20 FROM referral.foreign_attributes(1, 'patient') f), 'foreign attributes follow');
SELECT is_empty($$SELECT attribute FROM referral.foreign_attributes(1, 'patient') WHERE attribute IN ('org_id', 'patient_id', 'version', 'demographics')$$, 'what the engine keeps is nobody''s');

-- 8. Merging goes on, whoever keeps what

INSERT INTO referral.coverage (coverage_id, patient_id, subscriber_id, period) VALUES (1, 2, 'S-1', '[2026-01-01,)');
UPDATE referral.referral SET patient_id = 2 WHERE referral_id = 1;
SELECT public.kept('patient * EHR refuse', 'coverage * EHR quarantine', 'referral patient_id EHR quarantine') \g /dev/null
SELECT public.patient(1) AS one, public.patient(2) AS two \gset
SELECT is(public.code('UPDATE referral.coverage SET patient_id = 1 WHERE coverage_id = 1'), 'done', 'a coverage of another system');
SET SESSION AUTHORIZATION source_of_record_admin;
SET referral.origin = 'LAB';
SELECT referral.merge_patient(1, 1, 2, 'one person') AS merge \gset
RESET referral.origin;
RESET SESSION AUTHORIZATION;
SELECT results_eq('SELECT merged_into, active FROM referral.patient WHERE patient_id = 2', 'VALUES (1::bigint, false)', 'patients are merged');
SELECT is((SELECT phone FROM referral.patient WHERE patient_id = 1), '556', 'fields survive by the rules of merging');
SELECT results_eq('SELECT (SELECT patient_id FROM referral.coverage WHERE coverage_id = 1), (SELECT patient_id FROM referral.referral WHERE referral_id = 1)', 'VALUES (1::bigint, 1::bigint)', 'with what is theirs');
SELECT is((SELECT count(*) FROM referral.rejected_write WHERE entity IN ('coverage', 'referral') AND origin = 'LAB'), 0::bigint, 'nothing of it is set aside');
SELECT lives_ok(format('SELECT referral.unmerge_patient(1, %s, ''two persons'')', :merge), 'and unmerged');
SELECT results_eq('SELECT (SELECT patient_id FROM referral.coverage WHERE coverage_id = 1), (SELECT patient_id FROM referral.referral WHERE referral_id = 1)', 'VALUES (2::bigint, 2::bigint)', 'all of it');
SELECT is(public.code('UPDATE referral.patient SET active = false WHERE patient_id = 1'), 'RF009', 'afterwards it holds again');
-- the owner's function that has set it leaves nothing of it behind, even where the value stays the same
ALTER FUNCTION public.as_owner(text) RESET referral.source_override;
INSERT INTO referral.patient (org_id, patient_id, family) VALUES (1, 91, 'Twice'), (1, 92, 'Twice');
SET SESSION AUTHORIZATION source_of_record_admin;
SET referral.source_override = on;
SELECT referral.merge_patient(1, 91, 92, 'one person') \g /dev/null
SELECT is(public.as_owner('UPDATE referral.patient SET postal_code = ''55'' WHERE patient_id = 1'), 'RF009', 'a session that has set it before, too');
RESET referral.source_override;
RESET SESSION AUTHORIZATION;

-- 9. Rules that cannot be

INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'source_of_record/standard' RETURNING rule_version_id AS draft \gset
SELECT is(public.code(format('INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system, policy) VALUES (%s, %L, %L, %L, %L)', :draft, r[1], r[2], r[3], r[4])), r[5], r[6])
FROM (VALUES ('{nothing,family,EHR,refuse,RF011,there is no such entity}'::text[]), ('{document,title,EHR,refuse,RF011,a table that is not guarded}'), ('{patient,shoe_size,EHR,refuse,RF011,a column that there is not}'),
             ('{patient,demographics,EHR,refuse,RF011,a column that is computed}'), ('{patient,version,EHR,refuse,RF011,a column of the engine}'), ('{patient,patient_id,EHR,refuse,RF011,the identity}'),
             ('{referral,step,EHR,refuse,RF011,the step}'), ('{referral,state,EHR,quarantine,RF011,a state cannot be set aside}'), ('{patient,family,EHR,perhaps,23514,there are two policies}'),
             ('{patient,family," ",refuse,23514,a system has a name}'), ('{patient,family,EHR,refuse,done,otherwise it can}')) x (r);
INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system) VALUES (:draft, 'patient', 'family', 'EHR');
SELECT is(public.code(format('INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system) VALUES (%s, ''patient'', ''family'', ''LAB'')', :draft)), '23505', 'one system keeps it');
INSERT INTO referral.rule_set (name, kind) VALUES ('source_of_record/other', 'source_of_record');
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'source_of_record/other' RETURNING rule_version_id AS other \gset
INSERT INTO referral.source_of_record (rule_version_id, entity, owner_system) VALUES (:other, 'coverage', 'LAB');
SELECT results_eq(format('SELECT code, detail FROM public.refused(''UPDATE referral.rule_version SET status = ''''submitted'''' WHERE rule_version_id = %s'')', :other),
    $$VALUES ('RF011', 'coverage.* (rule set source_of_record/standard)')$$, 'not another one by another rule set');
SELECT referral.copy_rule_version((SELECT max(rule_version_id) FROM referral.source_of_record WHERE attribute = 'patient_id'), 'more') AS copy \gset
SELECT results_eq(format('SELECT entity, attribute, owner_system, policy FROM referral.source_of_record WHERE rule_version_id = %s ORDER BY 1', :copy),
    $$VALUES ('coverage', NULL::text, 'EHR', 'quarantine'), ('patient', NULL, 'EHR', 'refuse'), ('referral', 'patient_id', 'EHR', 'quarantine')$$, 'a copy has all rules');

-- 10. Tables of one's own, in parts, too

CREATE TABLE public.supplier (org_id bigint NOT NULL DEFAULT 1, supplier_id bigint NOT NULL, name text, rating integer, version bigint, PRIMARY KEY (org_id, supplier_id)) PARTITION BY RANGE (supplier_id);
CREATE TABLE public.supplier_a PARTITION OF public.supplier FOR VALUES FROM (1) TO (100);
SELECT throws_ok('SELECT referral.guard_sources(''public.supplier'')', 'RF019', NULL, 'a table has to be tracked first');
SELECT referral.track_table('public.supplier', 'supplier', 'supplier_id') \g /dev/null
SELECT referral.guard_sources('public.supplier') \g /dev/null
SELECT referral.guard_sources('public.supplier') \g /dev/null
SELECT public.kept('supplier name ERP refuse', 'supplier rating ERP quarantine') \g /dev/null
INSERT INTO public.supplier (supplier_id, name, rating) VALUES (1, 'Acme', 1);
SELECT is(public.code('UPDATE public.supplier SET name = ''X'''), 'RF009', 'their rules hold');
UPDATE public.supplier SET rating = 5;
SELECT results_eq('SELECT rating, version, (SELECT attempted FROM referral.rejected_write WHERE entity = ''supplier'') FROM public.supplier', $$VALUES (1, 1::bigint, '5'::jsonb)$$, 'both ways');
SELECT referral.accept_rejected_write(1, (SELECT rejected_write_id FROM referral.rejected_write WHERE entity = 'supplier'), 'audited') \g /dev/null
SELECT results_eq('SELECT rating, version FROM public.supplier', 'VALUES (5, 2::bigint)', 'and are set aside by a person');

-- 11. No echo

SELECT public.kept('patient family EHR quarantine') \g /dev/null
SELECT referral.create_consumer('ehr', $$entity = 'patient' AND origin IS DISTINCT FROM 'EHR'$$) \g /dev/null
SELECT max(journal_id) AS before FROM referral.journal \gset
SET referral.origin = 'EHR';
UPDATE referral.patient SET family = 'Echo', city = 'Turin' WHERE patient_id = 1;
SET referral.origin = 'LAB';
UPDATE referral.patient SET family = 'Noise', city = 'Milan' WHERE patient_id = 2;
UPDATE referral.patient SET family = 'Noise', city = 'Milan' WHERE patient_id = 2;
RESET referral.origin;
-- events() hands out what no other session of the cluster holds back; the filter is tried on what it would hand out
SELECT results_eq(format($$SELECT e.subject, e.data -> 'changed', e.data ->> 'origin' FROM referral.event e
        JOIN referral.journal j ON j.org_id = e.org_id AND j.journal_id = e.journal_id JOIN referral.consumer c ON c.consumer = 'ehr'
        WHERE e.journal_id > %s AND referral.rule_matches(c.filter, j)$$, :before), $$VALUES ('patient/2', '["city"]'::jsonb, 'LAB')$$,
    'a system is not told its own changes, nor what was set aside, nor the same twice');
-- 12. Messages

SELECT setval(pg_get_serial_sequence('referral.patient', 'patient_id'), 100), setval(pg_get_serial_sequence('referral.referral', 'referral_id'), 100) \g /dev/null
SELECT public.kept('patient family EHR refuse', 'patient phone EHR quarantine') \g /dev/null
CREATE FUNCTION public.message(sender text, event text, family text, street text, phone text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(chr(13), 'MSH|^~\&|' || sender || '|H|REF|H|20261102101500||REF^' || event || '|' || sender || event || '|P|2.5',
                     'PRD|RP|Lee^Ann', 'PID|1||7731^^^H^MR||' || family || '^Ada||19700102|F|||' || street || '^^Rome^NY^10001||' || phone, 'RF1|A|R|CAR|||R1')
$$;
SET SESSION AUTHORIZATION source_of_record_feed;
SELECT is((SELECT status::text FROM referral.receive('hl7v2', 'EHR', NULL, public.message('EHR', 'I12', 'Stone', '1 Elm', '5550100'))), 'processed', 'a message of the system that keeps a patient');
SELECT is((SELECT status::text FROM referral.receive('hl7v2', 'LAB', NULL, public.message('LAB', 'I13', 'Stein', '2 Oak', '5550199'))), 'processed', 'one of another system is not lost by what it may not say');
RESET SESSION AUTHORIZATION;
SELECT results_eq($$SELECT family, address, phone FROM referral.patient WHERE given = 'Ada'$$, $$VALUES ('Stone', '2 Oak', '5550100')$$, 'it writes what it may');
SELECT results_eq($$SELECT code, attribute FROM referral.data_quality_finding WHERE code = 'not_source_of_record'$$, $$VALUES ('not_source_of_record', 'patient.family')$$, 'what is refused is a finding');
SELECT results_eq($$SELECT w.attribute, w.attempted, w.origin FROM referral.rejected_write w JOIN referral.patient p ON p.patient_id = w.entity_id WHERE p.given = 'Ada'$$,
    $$VALUES ('phone', '"5550199"'::jsonb, 'LAB')$$, 'what is quarantined waits for a person');

SELECT is_empty(format('SELECT * FROM referral.verify_coverage(%L, 1, NULL)', e), 'the journal tells all of ' || e) FROM unnest(ARRAY['patient', 'rejected_write', 'referral']) e;

SELECT * FROM finish();

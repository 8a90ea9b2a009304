-- Rule versions: their life from draft to retired, who may move them on, and that what was in force never changes.
-- one for each shipped rule set besides
SELECT plan(155 + (SELECT count(*) FROM referral.rule_version WHERE is_seed)::integer);
\ir ../lib/refused.sql
-- that a set has no active version is warned of
SET client_min_messages = error;

CREATE ROLE governance_ann LOGIN IN ROLE referral_rule_author;
CREATE ROLE governance_bob LOGIN IN ROLE referral_rule_author;
CREATE ROLE governance_max LOGIN IN ROLE referral_rule_author, referral_rule_approver;
CREATE ROLE governance_eve LOGIN IN ROLE referral_rule_approver;
CREATE ROLE governance_app LOGIN IN ROLE referral_application, referral_rule_author, referral_rule_approver;
CREATE ROLE governance_admin LOGIN IN ROLE referral_admin;
CREATE ROLE governance_clerk LOGIN IN ROLE referral_coordinator;
INSERT INTO referral.organization_member (org_id, login) VALUES (1, 'governance_clerk');
CREATE FUNCTION status(id bigint) RETURNS text LANGUAGE sql AS 'SELECT status::text FROM referral.rule_version WHERE rule_version_id = $1';

-- ---------- a draft ----------
SET SESSION AUTHORIZATION governance_ann;
INSERT INTO referral.rule_set (name, kind, owner) VALUES ('reasons/house', 'reasons', 'governance_ann')
    RETURNING rule_set_id AS house \gset
INSERT INTO referral.rule_version (rule_set_id, author, editors, approver, approved_at, valid_during, checksum,
    version_number, note)
VALUES (:house, 'somebody else', '{governance_max}', 'governance_eve', now(), '{[2020-01-01,)}', 'forged', 99, 'First')
RETURNING rule_version_id AS v1 \gset
SELECT results_eq(format('SELECT version_number, status::text, author, editors, approver, approved_at, valid_during, checksum, is_seed, note FROM referral.rule_version WHERE rule_version_id = %s', :v1),
    $$VALUES (1, 'draft', 'governance_ann', '{}'::text[], NULL, NULL::timestamptz, '{}'::tstzmultirange, NULL::bytea,
        false, 'First')$$,
    'a version starts as a draft of its author, whatever is inserted');
SELECT is(code, 'RF016', 'no version starts as ' || s) FROM unnest('{submitted,approved,active,retired}'::text[]) s,
    refused(format('INSERT INTO referral.rule_version (rule_set_id, status) VALUES (%s, %L)', :house, s));
SELECT is(code, 'RF016', 'nor as shipped with the extension')
FROM refused(format('INSERT INTO referral.rule_version (rule_set_id, is_seed) VALUES (%s, true)', :house));
INSERT INTO referral.reason_code (rule_version_id, domain, code, display) VALUES (:v1, 'house', 'one', 'One'), (:v1,
    'house', 'two', 'Two');
UPDATE referral.rule_version SET note = 'First, better explained' WHERE rule_version_id = :v1;
UPDATE referral.reason_code SET display = 'Two!' WHERE rule_version_id = :v1 AND code = 'two';
DELETE FROM referral.reason_code WHERE rule_version_id = :v1 AND code = 'one';
SELECT is(editors || note, '{}First, better explained', 'its author may write it') FROM (SELECT editors::text, note
    FROM referral.rule_version WHERE rule_version_id = :v1) v;
SET SESSION AUTHORIZATION governance_max;
UPDATE referral.reason_code SET display = 'Two?' WHERE rule_version_id = :v1;
SET SESSION AUTHORIZATION governance_bob;
INSERT INTO referral.reason_code (rule_version_id, domain, code, display) VALUES (:v1, 'house', 'three', 'Three');
DELETE FROM referral.reason_code WHERE rule_version_id = :v1 AND code = 'three';
SELECT is(editors, '{governance_max,governance_bob}'::text[], 'who else writes, changes or deletes a rule becomes an editor')
FROM referral.rule_version WHERE rule_version_id = :v1;
SELECT is(code, 'RF016', 'nobody strikes himself off the editors')
FROM refused(format($$UPDATE referral.rule_version SET editors = '{governance_max}' WHERE rule_version_id = %s$$, :v1));
SELECT is(code, 'RF016', 'or makes another the author')
FROM refused(format($$UPDATE referral.rule_version SET author = 'governance_eve' WHERE rule_version_id = %s$$, :v1));
SET SESSION AUTHORIZATION governance_eve;
SELECT is(code, '42501', 'an approver does not write rules')
FROM refused(format($$UPDATE referral.reason_code SET display = 'x' WHERE rule_version_id = %s$$, :v1));
SELECT is(code, '42501', 'nor notes')
FROM refused(format($$UPDATE referral.rule_version SET note = 'x' WHERE rule_version_id = %s$$, :v1));
SET SESSION AUTHORIZATION governance_clerk;
SELECT is(code, '42501', 'others move nothing on')
FROM refused(format($$UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = %s$$, :v1));
SELECT is(code, '42501', 'and start nothing')
FROM refused(format('INSERT INTO referral.rule_version (rule_set_id) VALUES (%s)', :house));
SELECT isnt_empty('SELECT * FROM referral.rule_version', 'but see what is there');

-- ---------- submitted, approved ----------
SET SESSION AUTHORIZATION governance_ann;
SELECT is(checksum, NULL, 'a draft has no checksum') FROM referral.rule_version WHERE rule_version_id = :v1;
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :v1;
SELECT ok(submitted_at IS NOT NULL AND checksum = referral.rule_checksum(:v1) AND octet_length(checksum) = 32,
    'submission takes time and checksum')
FROM referral.rule_version WHERE rule_version_id = :v1;
SELECT is(code, 'RF016', 'a submitted rule cannot be changed')
FROM refused(format($$UPDATE referral.reason_code SET display = 'x' WHERE rule_version_id = %s$$, :v1));
SELECT is(code, 'RF016', 'a note neither')
FROM refused(format($$UPDATE referral.rule_version SET note = 'x' WHERE rule_version_id = %s$$, :v1));
SELECT is(code, 'RF003', 'the author may not approve, for want of the role')
FROM refused(format($$UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = %s$$, :v1));
SET SESSION AUTHORIZATION governance_max;
SELECT is(code, 'RF013', 'an editor may not, though an approver')
FROM refused(format($$UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = %s$$, :v1));
SET ROLE referral_rule_approver;
SELECT is(code, 'RF013', 'under another role he is the same person')
FROM refused(format($$UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = %s$$, :v1));
RESET ROLE;
SET referral.actor = 'governance_eve';
SELECT is(code, 'RF013', 'under another name, too')
FROM refused(format($$UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = %s$$, :v1));
RESET referral.actor;
SET SESSION AUTHORIZATION governance_app;
SET referral.actor = 'governance_bob';
SELECT is(code, 'RF013', 'an application acts as the person it names')
FROM refused(format($$UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = %s$$, :v1));
RESET referral.actor;
SET SESSION AUTHORIZATION governance_ann;
UPDATE referral.rule_version SET status = 'draft' WHERE rule_version_id = :v1;
SELECT ok(submitted_at IS NOT NULL AND checksum IS NULL AND editors = '{governance_max,governance_bob}',
    'back as a draft it has no checksum, but still its editors')
FROM referral.rule_version WHERE rule_version_id = :v1;
SELECT is(code, 'RF016', 'and cannot be deleted any more') FROM refused(format('DELETE FROM referral.rule_version WHERE rule_version_id = %s', :v1));
UPDATE referral.reason_code SET display = 'Two' WHERE rule_version_id = :v1;
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :v1;
SET SESSION AUTHORIZATION governance_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :v1;
SELECT is(approver, 'governance_eve', 'another approver may') FROM referral.rule_version WHERE rule_version_id = :v1;
SET SESSION AUTHORIZATION governance_ann;
SELECT is(code, 'RF003', 'an author does not activate')
FROM refused(format($$UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = %s$$, :v1));
UPDATE referral.rule_version SET status = 'draft' WHERE rule_version_id = :v1;
SELECT ok(approver IS NULL AND approved_at IS NULL, 'an approved version that goes back to draft has to be approved anew')
FROM referral.rule_version WHERE rule_version_id = :v1;
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :v1;
SET SESSION AUTHORIZATION governance_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :v1;

-- ---------- active, retired ----------
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v1;
SELECT ok(lower(valid_during) <= clock_timestamp() AND upper_inf(valid_during) AND checksum = referral.rule_checksum(:v1),
    'an active version is valid from now on')
FROM referral.rule_version WHERE rule_version_id = :v1;
SET SESSION AUTHORIZATION governance_ann;
SELECT is(code, 'RF003', 'an author does not retire')
FROM refused(format($$UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = %s$$, :v1));
SELECT referral.copy_rule_version(:v1, 'Second') AS v2 \gset
SELECT is(version_number || ' ' || status || ' ' || author || ' ' || note || ' ' || editors::text,
    '2 draft governance_ann Second {}', 'a copy is the next draft')
FROM referral.rule_version WHERE rule_version_id = :v2;
SELECT is(code, 'RF019', 'a version that does not exist has no copy')
FROM refused('SELECT referral.copy_rule_version(999999, ''x'')');
SELECT is(referral.copy_rule_version(NULL, 'x'), NULL, 'null has none');
INSERT INTO referral.reason_code (rule_version_id, domain, code, display) VALUES (:v2, 'house', 'four', 'Four');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :v2;
SET SESSION AUTHORIZATION governance_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :v2;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v2;
SELECT is(status(:v1) || ' ' || status(:v2), 'retired active', 'activating a version retires the former one');
SELECT ok(NOT a.valid_during && b.valid_during AND NOT isempty(a.valid_during)
    AND upper(a.valid_during) <= lower(b.valid_during), 'their times do not overlap')
FROM referral.rule_version a, referral.rule_version b WHERE (a.rule_version_id, b.rule_version_id) = (:v1, :v2);
SELECT is(referral.rollback_rule_set('reasons/house'), :v1::bigint, 'rollback_rule_set() returns to the former one');
SELECT is(status(:v1) || ' ' || status(:v2), 'active retired', 'which is active again');
SELECT is((SELECT count(*) FROM unnest(valid_during)), 2::bigint, 'for a second time')
FROM referral.rule_version WHERE rule_version_id = :v1;
SELECT is(referral.rollback_rule_set('reasons/house'), :v2::bigint, 'and back');
SELECT is(code, 'RF001', 'a set with one version has no former one')
FROM refused($$SELECT referral.rollback_rule_set('workflow/standard')$$);
SELECT is(code, 'RF019', 'and one that does not exist is not there')
FROM refused($$SELECT referral.rollback_rule_set('nosuch')$$);
SELECT is(referral.rollback_rule_set(NULL), NULL, 'null has none');
UPDATE referral.rule_version SET status = 'retired' WHERE rule_version_id = :v2;
SELECT is((SELECT count(*) FROM referral.rule_version WHERE rule_set_id = :house AND status = 'active'), 0::bigint,
    'an approver may retire a version without another in its place');
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v2;
SET SESSION AUTHORIZATION governance_ann;
SELECT is(code, '42501', 'an author does not roll back')
FROM refused($$SELECT referral.rollback_rule_set('reasons/house')$$);
SET SESSION AUTHORIZATION governance_clerk;
SELECT is(code, '42501', 'nor does anybody else') FROM refused($$SELECT referral.rollback_rule_set('reasons/house')$$);
RESET SESSION AUTHORIZATION;

-- several activations in one transaction
BEGIN;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v1;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v2;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v1;
COMMIT;
SELECT is(status(:v1) || ' ' || status(:v2), 'active retired', 'a version may come and go within a transaction');
SELECT is_empty($$SELECT a.rule_version_id, b.rule_version_id FROM referral.rule_version a
    JOIN referral.rule_version b USING (rule_set_id)
                  WHERE a.rule_version_id < b.rule_version_id AND a.valid_during && b.valid_during$$,
                      'no two versions of a set were ever valid at once');
SELECT is_empty($$SELECT rule_set_id FROM referral.rule_version GROUP BY 1 HAVING count(*) FILTER (WHERE status = 'active') > 1$$, 'no set has two active versions');
SELECT is_empty($$SELECT rule_version_id FROM referral.rule_version WHERE (status = 'active') <> upper_inf(valid_during)
    AND NOT (status <> 'active' AND isempty(valid_during))$$,
                'valid without end is what is active');

-- ---------- every move of status ----------
-- versions in each status, of another author than the one who tries; the owner of everything tries
SET SESSION AUTHORIZATION governance_ann;
SELECT referral.copy_rule_version(:v2, 'to be submitted') AS submitted, referral.copy_rule_version(:v2,
    'to be approved') AS approved,
       referral.copy_rule_version(:v2, 'to stay a draft') AS draft \gset
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id IN (:submitted, :approved);
SET SESSION AUTHORIZATION governance_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :approved;
RESET SESSION AUTHORIZATION;
CREATE TABLE version_of (status text, id bigint);
INSERT INTO version_of VALUES ('draft', :draft), ('submitted', :submitted), ('approved', :approved), ('active', :v1),
    ('retired', :v2);
SELECT is(string_agg(status(id), ' ' ORDER BY status(id)), 'active approved draft retired submitted',
    'there is a version in each status')
FROM version_of;
SELECT is(code, CASE WHEN (v.status, s) IN (('draft', 'submitted'), ('submitted', 'draft'), ('submitted', 'approved'),
    ('approved', 'draft'),
                          ('approved', 'active'), ('active', 'retired'), ('retired', 'active')) OR v.status = s
                     THEN 'done' ELSE 'RF001' END, format('from %s to %s', v.status, s))
FROM version_of v, unnest(enum_range(NULL::referral.rule_status)::text[]) s,
     refused(format('UPDATE referral.rule_version SET status = %L WHERE rule_version_id = %s', s, v.id));

-- ---------- nothing that was submitted can be changed or deleted, by nobody ----------
SELECT is(code, CASE v.status WHEN 'draft' THEN 'done' ELSE 'RF016' END, 'DELETE of a version that is ' || v.status)
FROM version_of v, refused(format('DELETE FROM referral.rule_version WHERE rule_version_id = %s', v.id));
SELECT is(code, 'RF016', 'of an active version, the owner cannot change ' || c)
FROM unnest(ARRAY['rule_version_id = 1000000', 'rule_set_id = 1', 'version_number = 7', 'author = ''x''',
    'editors = ''{x}''', 'created_at = now()',
                  'submitted_at = now()', 'approver = ''x''', 'approved_at = now()', 'valid_during = ''{}''',
                      'checksum = ''x''', 'is_seed = true', 'note = ''x''']) c,
     refused(format('UPDATE referral.rule_version SET %s WHERE rule_version_id = %s', c, :v1));
SELECT is(code, 'RF016', format('%s of a rule of a version that is %s', o, v.status))
FROM version_of v, (VALUES ('INSERT', 'INSERT INTO referral.reason_code (rule_version_id, domain, code, display) VALUES (%s, ''house'', ''new'', ''New'')'),
                           ('UPDATE', 'UPDATE referral.reason_code SET display = ''x'' WHERE rule_version_id = %s'),
                           ('DELETE', 'DELETE FROM referral.reason_code WHERE rule_version_id = %s')) s (o, sql),
     refused(format(sql, v.id)) WHERE v.status <> 'draft';
SELECT is(code, 'RF016', 'a rule cannot be taken out of an active version')
FROM refused(format('UPDATE referral.reason_code SET rule_version_id = %s WHERE rule_version_id = %s', :draft, :v1));
SELECT is(code, 'RF016', 'nor be put into one')
FROM refused(format('UPDATE referral.reason_code SET rule_version_id = %s WHERE rule_version_id = %s', :v1, :draft));

-- the tables of a workflow
SELECT w.workflow_id AS standard, w.rule_version_id AS standard_version FROM referral.workflow w
    JOIN referral.rule_version v USING (rule_version_id)
WHERE w.name = 'standard' AND v.status = 'active' \gset
SELECT is(code, 'RF016', s || ' of an active workflow') FROM unnest(ARRAY[
    'UPDATE referral.workflow SET title = ''x''', 'DELETE FROM referral.workflow',
        'UPDATE referral.workflow_step SET title = ''x''', 'DELETE FROM referral.workflow_step',
    'UPDATE referral.workflow_transition SET title = ''x''', 'DELETE FROM referral.workflow_transition',
        'UPDATE referral.workflow_guard SET message = ''x''', 'DELETE FROM referral.workflow_guard']) s,
    refused(format('%s WHERE workflow_id = %s', s, :standard));
SELECT is(code, 'RF016', 'no ' || t || ' can be added to it') FROM (VALUES
    ('workflow', 'INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (%2$s, ''referral'', ''more'')'),
    ('step', 'INSERT INTO referral.workflow_step (workflow_id, step, state, is_entry) VALUES (%1$s, ''more'', ''received'', false)'),
    ('transition', 'INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step) VALUES (%1$s, ''more'', ''received'', ''closed_loop'')'),
    ('guard', 'INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message) SELECT %1$s, min(transition_id), ''false'', ''x'' FROM referral.workflow_transition WHERE workflow_id = %1$s')) s (t, sql),
    refused(format(sql, :standard, :standard_version));
SELECT is(code, 'RF007', 'rules cannot be emptied out: ' || t)
    FROM unnest('{workflow_guard,reason_code,workflow CASCADE}'::text[]) t,
    refused('TRUNCATE referral.' || t);
-- a guard of a draft hung on a transition of the active version
SET SESSION AUTHORIZATION governance_ann;
SELECT referral.copy_rule_version(:standard_version, 'Another standard') AS new_standard \gset
SELECT isnt(code, 'done', 'nor can a draft''s guard be hung on an active version''s transition') FROM refused(format($$
    INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message)
    SELECT d.workflow_id, t.transition_id, 'false', 'smuggled in' FROM referral.workflow d, referral.workflow_transition t
    WHERE d.rule_version_id = %s AND t.workflow_id = %s AND t.transition = 'validate'$$, :new_standard, :standard));
SELECT isnt(code, 'done', 'or be moved to it') FROM refused(format($$
    UPDATE referral.workflow_guard g SET transition_id = (SELECT transition_id FROM referral.workflow_transition
        WHERE workflow_id = %s AND transition = 'validate')
    WHERE g.rule_version_id = %s$$, :standard, :new_standard));
SELECT is(code, 'done', 'a draft can be deleted with all its rules')
FROM refused(format('DELETE FROM referral.rule_version WHERE rule_version_id = %s', :new_standard));
SELECT is(code, 'RF011', 'a rule that is none is refused when it is written') FROM refused(format($$
    UPDATE referral.workflow_guard SET predicate = 'nothing IS NULL' WHERE rule_version_id = %s$$, :new_standard));
SELECT is(code, 'RF011', 'also one that says when a workflow applies')
FROM refused(format($$UPDATE referral.workflow SET applies_when = 'specialty' WHERE rule_version_id = %s$$, :new_standard));
RESET SESSION AUTHORIZATION;

-- ---------- the checksum ----------
SELECT isnt(referral.rule_checksum(:v1), referral.rule_checksum(:v2), 'different rules have different checksums');
SELECT is(referral.rule_checksum(NULL), NULL, 'null has none');
SET session_replication_role = replica;
UPDATE referral.reason_code SET display = 'behind the back' WHERE rule_version_id IN (:submitted, :approved, :v2);
RESET session_replication_role;
SELECT is(code, 'RF016', format('a version that was changed behind the back cannot go from %s to %s', status(id), s))
FROM (VALUES (:submitted, 'approved'), (:approved, 'active'), (:v2, 'active')) v (id, s),
     refused(format('UPDATE referral.rule_version SET status = %L WHERE rule_version_id = %s', s, id));
SELECT matches(message, 'not the ones that were submitted', 'because its rules are others')
FROM refused(format('UPDATE referral.rule_version SET status = ''approved'' WHERE rule_version_id = %s', :submitted));

-- ---------- a copy is complete ----------
-- every column of every rule table, except identifiers and what a version is
CREATE FUNCTION rules_of(version bigint) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT tgrelid FROM pg_trigger WHERE tgfoid = 'referral.rule_row_guard()'::regprocedure LOOP
        RETURN QUERY EXECUTE format($q$
            SELECT '%s ' || (to_jsonb(r) - '{rule_version_id,workflow_id,transition_id,sla_policy_id}'::text[]
                             - (SELECT coalesce(array_agg(a.attname::text), '{}') FROM pg_attribute a WHERE a.attrelid = r.tableoid AND a.attidentity <> ''))::text
                   || coalesce((SELECT ' of ' || t.transition || ' ' || t.from_step || ' ' || t.to_step
                       FROM referral.workflow_transition t
                                WHERE t.transition_id = (to_jsonb(r) ->> 'transition_id')::bigint), '')
                   || coalesce((SELECT ' in ' || w.name FROM referral.workflow w
                       WHERE w.workflow_id = (to_jsonb(r) ->> 'workflow_id')::bigint), '')
                   || coalesce((SELECT ' of ' || p.name || ' ' || p.priority FROM referral.sla_policy p
                       WHERE to_jsonb(r) ? 'sla_level_id' AND p.sla_policy_id = (to_jsonb(r) ->> 'sla_policy_id')::bigint), '')
            FROM %s r WHERE r.rule_version_id = $1 $q$, t, t) USING version;
    END LOOP;
END $$;
INSERT INTO referral.rule_set (name, kind) VALUES ('workflow/everything', 'workflow') RETURNING rule_set_id AS everything_set \gset
INSERT INTO referral.rule_version (rule_set_id) VALUES (:everything_set) RETURNING rule_version_id AS everything \gset
INSERT INTO referral.workflow (rule_version_id, entity, name, title, applies_when, priority, scope_org_id, scope_region,
    scope_site_id, scope_specialty)
VALUES (:everything, 'referral', 'full', 'Full', 'urgency = ''stat''', 7, 1, 'north', 3, 'cardiology')
    RETURNING workflow_id AS full_workflow \gset
INSERT INTO referral.workflow (rule_version_id, entity, name) VALUES (:everything, 'referral', 'bare');
INSERT INTO referral.workflow_step (workflow_id, step, state, is_initial, is_entry, title, business_status, fhir_task_status, sort)
VALUES (:full_workflow, 'a', 'received', true, false, 'A', '1.0', 'draft', 9), (:full_workflow, 'b', 'validated', false,
    true, NULL, NULL, NULL, 1);
INSERT INTO referral.workflow_transition (workflow_id, transition, from_step, to_step, priority, required_role,
    human_only, reason_required, comment_required, reason_domain, notify, party, title)
VALUES (:full_workflow, 'go', 'a', 'b', 3, 'referral_admin', true, true, true, 'cancel', '{patient,payer}', 'recipient', 'Go'),
       (:full_workflow, 'go', 'b', 'a', 4, NULL, false, false, false, NULL, '{}', NULL, NULL);
INSERT INTO referral.workflow_guard (workflow_id, transition_id, predicate, message, unblock, error_code, sort)
SELECT :full_workflow, transition_id, 'region IS NOT NULL', 'no region', 'Set region.', 'RF008', 5
    FROM referral.workflow_transition WHERE workflow_id = :full_workflow;
INSERT INTO referral.reason_code (rule_version_id, domain, code, display, comment_required, active) VALUES (:everything,
    'full', 'x', 'X', true, false);
INSERT INTO referral.stall_threshold (rule_version_id, state, scope_org_id, threshold) VALUES (:everything, 'received', 1, '1 day');
INSERT INTO referral.business_calendar (rule_version_id, name, title, scope_org_id, scope_site_id, calendar)
VALUES (:everything, 'full', 'Full', 1, 3, referral.always_open('UTC'));
INSERT INTO referral.sla_policy (rule_version_id, entity, name, title, kind, applies_when, priority, scope_org_id, start_when,
    stop_when, pause_when, cancel_when, pause_counts, reopen, target, calendar)
VALUES (:everything, 'referral', 'full', 'Full', 'completion', 'urgency = ''stat''', 7, 1, 'state = ''received''', 'state = ''completed''',
    'state = ''on_hold''', 'state = ''cancelled''', true, 'resume', '3 days 2 hours', 'full') RETURNING sla_policy_id AS full_policy \gset
INSERT INTO referral.sla_level (sla_policy_id, level, percent, after, action, argument, title)
VALUES (:full_policy, 4, 120.5, '-1 hour', 'assign_role', 'referral_admin', 'Full'), (:full_policy, 5, 100, '0', 'notify', NULL, NULL);
INSERT INTO referral.match_model (rule_version_id, title, prior_bits, certain_bits, probable_bits, possible_bits, margin_bits, household_cap_bits, frequency_weight, auto_link)
VALUES (:everything, 'Full', -9, 20, 10, 1, 4, 15, 0.3, true);
INSERT INTO referral.match_level (rule_version_id, field, level, m, u) VALUES (:everything, 'sex', 'same', 0.9, 0.4);
INSERT INTO referral.match_nickname (rule_version_id, name, nicknames) VALUES (:everything, 'full', '{fully,fullness}');
INSERT INTO referral.match_placeholder (rule_version_id, kind, value) VALUES (:everything, 'family', 'full');
INSERT INTO referral.source_mapping (rule_version_id, mapping, title, kind, zone) VALUES (:everything, 'full', 'Full', 'patient', 'America/Chicago');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, constant, format, translation, sort)
VALUES (:everything, 'full', 'patient.birth_date', 'born', '01/02/2003', 'MM/DD/YYYY', 'full', 3);
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code) VALUES (:everything, 'full', 'x', 'y');
INSERT INTO referral.required_field_rule (rule_version_id, name, field, applies_when, condition, severity, message, how_to_fix, template, scope_org_id, scope_specialty, scope_referral_type, scope_payer_id)
VALUES (:everything, 'full', 'region', 'urgency = ''stat''', 'region <> ''x''', 'warning', 'no region', 'Set it.', 'full', 1, 'cardiology', 'x', 1);
INSERT INTO referral.document_requirement (rule_version_id, name, document_type, applies_when, severity, message, how_to_fix, template, scope_org_id, scope_specialty, scope_referral_type, scope_payer_id)
VALUES (:everything, 'full', 'letter', 'urgency = ''stat''', 'warning', 'no letter', 'File it.', 'full', 1, 'cardiology', 'x', 1);
INSERT INTO referral.outreach_template (rule_version_id, name, language, recipient, medium, subject, body) VALUES (:everything, 'full', 'es', 'requester', 'fax', 'Subject', 'Body');
INSERT INTO referral.confidence_threshold (rule_version_id, document_type, field, minimum, note) VALUES (:everything, 'letter', 'patient.family', 0.5, 'Full');
INSERT INTO referral.source_of_record (rule_version_id, entity, attribute, owner_system, policy, scope_org_id, note) VALUES (:everything, 'patient', 'family', 'ehr', 'quarantine', 1, 'Full');
INSERT INTO referral.work_source (rule_version_id, name, entity, kind, applies_when, queue, referral_column, due_column, title)
VALUES (:everything, 'full', 'exception_item', 'exception', 'blocking', 'exceptions', 'referral_id', 'due_at', 'Full');
INSERT INTO referral.ranking_factor (rule_version_id, name, entity, kind, points, date_field, applies_when, scope_org_id, explanation)
VALUES (:everything, 'full', 'referral', 'points', 1, NULL, 'priority > 0', 1, 'Full'), (:everything, 'by the day', 'referral', 'per_day', 1, 'due_at', NULL, 1, 'Full');
INSERT INTO referral.task_template (rule_version_id, name, on_state, on_step, on_transition, applies_when, title, queue, due, calendar, until_when, scope_org_id)
VALUES (:everything, 'by state', 'no_show', NULL, NULL, 'priority > 0', 'Full', 'scheduling', '2 days', 'us_business', 'priority = 0', 1),
       (:everything, 'by step', NULL, 'no_show', NULL, 'priority > 0', 'Full', 'scheduling', '2 days', 'us_business', 'priority = 0', 1),
       (:everything, 'by transition', NULL, NULL, 'reschedule', 'priority > 0', 'Full', 'scheduling', '2 days', 'us_business', 'priority = 0', 1);
INSERT INTO referral.exception_policy (rule_version_id, category, code, severity, blocking, blocks, due, calendar, scope_org_id)
VALUES (:everything, 'policy', 'x', 'low', true, '{schedule}', '1 day', 'always', 1);
INSERT INTO referral.exception_rule (rule_version_id, name, category, code, severity, blocking, blocks, applies_when, explanation, priority, scope_org_id, valid_during)
VALUES (:everything, 'full', 'policy', 'x', 'low', true, '{schedule}', 'urgency = ''stat''', 'why', 7, 1, '[2020-01-01,)');
INSERT INTO referral.routing_rule (rule_version_id, name, entity, priority, applies_when, queue, healthcare_service, assign, explanation, scope_org_id, valid_during)
VALUES (:everything, 'full', 'exception_item', 7, 'severity = ''low''', 'intake', 'Heart', 'fewest_open', 'why', 1, '[2020-01-01,)');
INSERT INTO referral.approval_policy (rule_version_id, name, level, entity, transitions, applies_when, kind, approver_role, queue, quorum, due, calendar, valid_for, watched, priority, scope_org_id, explanation)
VALUES (:everything, 'full', 2, 'referral', '{release}', 'urgency = ''stat''', 'x', 'referral_clinician', 'approvals', 2, '1 day', 'always', '1 year', '{payer_id}', 7, 1, 'why');
INSERT INTO referral.handoff_checklist (rule_version_id, name, from_queue, to_queue, item, required, applies_when, done_when, scope_org_id)
VALUES (:everything, 'full', 'intake', 'scheduling', 'Full', false, 'priority > 0', 'priority > 1', 1);
INSERT INTO referral.recommendation_rule (rule_version_id, name, priority, applies_when, action, reason, scope_org_id)
VALUES (:everything, 'full', 7, 'priority > 0', 'do', 'why', 1);
SELECT referral.copy_rule_version(:everything, 'copy') AS everything_copy \gset
SELECT set_eq(format('SELECT rules_of(%s)', :everything_copy), format('SELECT rules_of(%s)', :everything),
    'a copy has every rule with every column');
SELECT cmp_ok((SELECT count(*) FROM rules_of(:everything_copy)), '=', 38::bigint, 'each once');
CREATE TABLE sum_of AS SELECT referral.rule_checksum(:everything) AS checksum;
SET extra_float_digits = -10;
SET intervalstyle = 'iso_8601';
SET timezone = 'Asia/Tokyo';
SELECT is(referral.rule_checksum(:everything), checksum, 'the checksum is the same under all settings') FROM sum_of;
RESET extra_float_digits;
RESET intervalstyle;
RESET timezone;
BEGIN;
CREATE TABLE public.more_rules (rule_version_id bigint, more text);
CREATE TRIGGER rule_row BEFORE INSERT OR UPDATE OR DELETE ON public.more_rules FOR EACH ROW EXECUTE FUNCTION referral.rule_row_guard();
SELECT is(referral.rule_checksum(:everything), checksum, 'and does not change with a new kind of rules') FROM sum_of;
ROLLBACK;
SELECT bag_eq(format('SELECT rules_of(%s)', referral.copy_rule_version(v.rule_version_id, 'copy')),
    format('SELECT rules_of(%s)', v.rule_version_id), 'also of ' || s.name)
FROM referral.rule_version v JOIN referral.rule_set s USING (rule_set_id) WHERE v.status = 'active' AND v.is_seed;
SELECT is_empty(format($$SELECT a.attrelid::regclass, a.attname FROM pg_attribute a JOIN pg_trigger g ON g.tgrelid = a.attrelid
    WHERE g.tgfoid = 'referral.rule_row_guard()'::regprocedure AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.atthasdef
        AND NOT a.attnotnull
      AND NOT EXISTS (SELECT FROM rules_of(%s) r WHERE starts_with(r, a.attrelid::regclass || ' ')
          AND r !~ format('"%%s": null', a.attname))$$, :everything_copy),
    'and this test gave every nullable column a value');

-- ---------- a change from beginning to end ----------
INSERT INTO referral.referral (org_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id AS before \gset
SET SESSION AUTHORIZATION governance_ann;
UPDATE referral.workflow_guard SET predicate = 'specialty = ''oncology''', message = 'only oncology'
    WHERE rule_version_id = :new_standard AND predicate = 'specialty IS NOT NULL';
DELETE FROM referral.workflow_guard WHERE rule_version_id = :new_standard AND predicate = 'patient_id IS NOT NULL';
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :new_standard;
SET SESSION AUTHORIZATION governance_eve;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :new_standard;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :new_standard;
RESET SESSION AUTHORIZATION;
INSERT INTO referral.referral (org_id, specialty) VALUES (1, 'cardiology') RETURNING referral_id AS after \gset
SELECT matches(message, 'the patient is not known', 'a row from before follows the former rules')
FROM refused(format('UPDATE referral.referral SET step = ''validated'' WHERE referral_id = %s', :before));
SELECT matches(message, 'only oncology', 'a new row the new ones')
FROM refused(format('UPDATE referral.referral SET step = ''validated'' WHERE referral_id = %s', :after));
SELECT results_eq(format($$SELECT actor, changes #>> '{status,0}', changes #>> '{status,1}' FROM referral.journal
    WHERE entity = 'rule_version' AND entity_id = %s AND changes ? 'status' ORDER BY journal_id$$, :new_standard),
    $$VALUES ('governance_ann', NULL, 'draft'), ('governance_ann', 'draft', 'submitted'), ('governance_eve', 'submitted',
        'approved'), ('governance_eve', 'approved', 'active')$$,
    'the journal tells who moved the version on');
SELECT is((SELECT count(*) FROM referral.journal WHERE entity = 'workflow_guard' AND actor = 'governance_ann'
    AND action IN ('update', 'delete')), 2::bigint, 'and who changed its rules');

-- ---------- functions that rules may call ----------
CREATE FUNCTION calm(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1';
CREATE FUNCTION wild(integer) RETURNS integer LANGUAGE sql VOLATILE AS 'SELECT $1';
CREATE FUNCTION many(integer) RETURNS SETOF integer LANGUAGE sql STABLE AS 'SELECT $1';
CREATE AGGREGATE total(integer) (SFUNC = int4pl, STYPE = integer, INITCOND = '0');
CREATE PROCEDURE done(integer) LANGUAGE sql AS '';
SET SESSION AUTHORIZATION governance_ann;
SELECT is(code, '42501', 'an author of rules does not register functions')
FROM refused($$INSERT INTO referral.rule_function (signature) VALUES ('public.calm(int)')$$);
SET SESSION AUTHORIZATION governance_admin;
SELECT is(code, 'RF011', f || ' is refused')
FROM unnest('{public.wild(integer),public.many(integer),public.total(integer),public.done(integer),public.nosuch(integer),calm(integer),calm,public.calm(text)}'::text[]) f,
    refused(format('INSERT INTO referral.rule_function (signature) VALUES (%L)', f));
INSERT INTO referral.rule_function (signature, definition_hash, registered_by, registered_at, note)
VALUES ('public.calm(int)', 'forged', 'somebody else', '2000-01-01', 'harmless');
SELECT results_eq('SELECT signature, registered_by, registered_at > ''2020-01-01'', note FROM referral.rule_function',
    $$VALUES ('public.calm(integer)', 'governance_admin', true, 'harmless')$$,
        'an administrator registers a function under his name');
SELECT is(definition_hash, sha256(convert_to(pg_get_functiondef('public.calm(integer)'::regprocedure), 'UTF8')), 'as it is now')
FROM referral.rule_function;
SELECT is(code, '23505', 'once')
FROM refused($$INSERT INTO referral.rule_function (signature) VALUES ('public.calm(integer)')$$);
RESET SESSION AUTHORIZATION;

SELECT * FROM finish();

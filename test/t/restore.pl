# A dump brings back everything: each way of dumping, into another database of the cluster and into a new cluster.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub new_cluster
{
	my $node = PostgreSQL::Test::Cluster->new(shift);

	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
	$node->start;
	return $node;
}

# Runs a client program and returns what it wrote to stderr; nothing is what we want.
sub errors_of
{
	my ($node, @command) = @_;
	my ($out, $err);

	local %ENV = $node->_get_env();
	my $status = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	return ($status ? '' : "exit status not 0\n") . $err;
}

# SQLSTATE of a statement, run as a login; '' when it succeeds.
sub state_of
{
	my ($node, $database, $login, $sql) = @_;
	my ($stdout, $stderr);

	$node->psql($database, "SET SESSION AUTHORIZATION $login; $sql", stdout => \$stdout, stderr => \$stderr,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	return $stderr =~ /ERROR:\s+(\w{5})/ ? $1 : $stderr;
}

my $model_rows = slurp_file("$ENV{REFERRAL_ROOT}/test/lib/model_rows.sql");
my $origin = new_cluster('origin');
$origin->safe_psql('postgres', 'CREATE DATABASE origin');
$origin->safe_psql('origin', 'CREATE EXTENSION referral; SELECT referral.deploy()');

# Logins, two organisations, and work done through the guard.
$origin->safe_psql('origin', <<'SQL');
CREATE ROLE restore_jane LOGIN IN ROLE referral_coordinator;
CREATE ROLE restore_anna LOGIN IN ROLE referral_coordinator;
CREATE ROLE restore_app LOGIN IN ROLE referral_application, referral_coordinator;
CREATE ROLE restore_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE restore_approver LOGIN IN ROLE referral_rule_approver, referral_approver;
CREATE ROLE restore_reader NOLOGIN;
INSERT INTO referral.organization (org_id, name) VALUES (2, 'Second');
INSERT INTO referral.organization_member (org_id, login) VALUES
    (1, 'restore_jane'), (2, 'restore_anna'), (1, 'restore_author'), (1, 'restore_approver');

SET SESSION AUTHORIZATION restore_jane;
INSERT INTO referral.patient (family, given, birth_date)
SELECT 'Family ' || g, E'Gi\tven\n"' || g, date '1950-01-01' + g FROM generate_series(1, 50) g;
INSERT INTO referral.referral (patient_id, specialty) SELECT patient_id, 'cardiology' FROM referral.patient;
UPDATE referral.referral SET state = 'validated' WHERE referral_id <= 40;
UPDATE referral.referral SET state = 'ready_to_schedule' WHERE referral_id <= 30;
UPDATE referral.referral SET state = 'scheduled', scheduled_for = '2026-01-01 12:00+00' WHERE referral_id <= 20;
BEGIN;
SET LOCAL referral.reason = 'the patient asked';
UPDATE referral.referral SET state = 'on_hold', status_reason = 'waiting_for_patient' WHERE referral_id <= 5;
COMMIT;
UPDATE referral.referral SET state = 'completed' WHERE referral_id BETWEEN 6 AND 10;
INSERT INTO referral.document (referral_id, type, content_hash) SELECT g, 'letter', '\x00ff' FROM generate_series(6, 8) g;
INSERT INTO referral.consult_report (referral_id, status) SELECT g, 'final' FROM generate_series(6, 8) g;
UPDATE referral.referral SET state = 'closed_loop' WHERE referral_id BETWEEN 6 AND 8;
INSERT INTO referral.referral (referral_type) VALUES ('coordination'), ('exchange');
SET SESSION AUTHORIZATION restore_anna;
INSERT INTO referral.patient (family) VALUES ('Of the second organisation');
SET SESSION AUTHORIZATION restore_author;
SELECT referral.copy_rule_version(rule_version_id, 'a draft') FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id)
WHERE name = 'reasons';
WITH draft AS (
    SELECT rule_version_id AS former, referral.copy_rule_version(rule_version_id, 'fitted') AS rule_version_id
    FROM referral.rule_version JOIN referral.rule_set USING (rule_set_id) WHERE name = 'matching/standard' AND status = 'active')
INSERT INTO referral.match_fit (rule_version_id, fitted_from, relation, column_name, seed, row_count, people, random_pairs, pairs, largest_block,
    patterns, matches, converged, kept_m, kept_u)
SELECT rule_version_id, former, 'referral.patient', 'demographics', 1, 1000, 900, 404550, 5000, 500, 100, 50.5, true, '{sex:same}', '{}' FROM draft;
INSERT INTO referral.match_fit_round (rule_version_id, round, log_likelihood, largest_change, match_share, household_share)
SELECT rule_version_id, 1, -1000.5, 1e-7, 1e-4, 1e-5 FROM referral.match_fit;
RESET SESSION AUTHORIZATION;
DELETE FROM referral.document WHERE document_id = 2;
SELECT referral.merge_patient(1, 41, 42, 'twice there');
INSERT INTO referral.referral (org_id, patient_id) VALUES (1, 42);
INSERT INTO referral.match_frequency VALUES ('family', 1, 3);
SQL

# What a site adds of its own.
$origin->safe_psql('origin', <<'SQL');
ALTER TABLE referral.patient ADD COLUMN mrn text DEFAULT 'none', ADD COLUMN tags text[];
ALTER TABLE referral.journal ADD COLUMN reviewed boolean;
UPDATE referral.patient SET mrn = 'M' || patient_id, tags = ARRAY['a', NULL] WHERE patient_id < 10;
CREATE INDEX patient_mrn ON referral.patient (org_id, mrn);
CREATE UNIQUE INDEX patient_mrn_unique ON referral.patient (org_id, mrn) WHERE mrn <> 'none';
CREATE TABLE public.seen (patient_id bigint);
CREATE FUNCTION public.own_trigger() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
'BEGIN INSERT INTO public.seen VALUES (NEW.patient_id); RETURN NEW; END';
CREATE TRIGGER own AFTER INSERT OR UPDATE ON referral.patient FOR EACH ROW EXECUTE FUNCTION public.own_trigger();
CREATE TRIGGER own_off AFTER INSERT ON referral.patient FOR EACH ROW EXECUTE FUNCTION public.own_trigger();
ALTER TABLE referral.patient DISABLE TRIGGER own_off;
ALTER TABLE referral.site DISABLE TRIGGER journal;
CREATE POLICY discreet ON referral.patient AS RESTRICTIVE FOR SELECT TO restore_reader USING (mrn <> 'M1');
GRANT SELECT ON referral.patient TO restore_reader;
GRANT SELECT (family) ON referral.patient TO PUBLIC;
REVOKE SELECT ON referral.payer FROM referral_scheduler;
CREATE TABLE public.visit (visit_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint, referral_id bigint,
    FOREIGN KEY (org_id, referral_id) REFERENCES referral.referral);
INSERT INTO public.visit (org_id, referral_id) VALUES (1, 1), (1, 2);
CREATE VIEW public.open_referral AS SELECT * FROM referral.referral WHERE state < 'closed_loop';
COMMENT ON COLUMN referral.patient.mrn IS 'Our own number';

-- a function for rules, a table of its own with the standard workflow, one without an integer key
CREATE FUNCTION public.near(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 = ''near''';
INSERT INTO referral.rule_function (signature) VALUES ('public.near(text)');
CREATE TABLE public.supplier (supplier_id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text, patient_id bigint,
    specialty text, authorization_required boolean, authorization_number text, scheduled_for timestamptz, referral_id bigint,
    expires_on date);
SET referral.org_id = '1';
INSERT INTO public.supplier (name) VALUES ('old');
SELECT referral.attach('public.supplier', 'standard');
INSERT INTO public.supplier (name) VALUES ('new'), ('newer');
UPDATE public.supplier SET state = 'validated', patient_id = 1, specialty = 'x' WHERE name = 'new';
CREATE TABLE public.named (name text PRIMARY KEY, note text);
SELECT referral.attach('public.named');
RESET referral.org_id;
SQL

# Everything there is, as lines to be compared; the empty search_path makes every name qualified.
my $contents = <<'SQL';
SET search_path = ''; SET TimeZone = 'UTC'; SET DateStyle = 'ISO';
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\n'' ORDER BY t::text)) FROM %s t', c.oid::regclass, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname IN ('referral', 'public') ORDER BY c.oid::regclass::text \gexec
SELECT format('SELECT %L, last_value, is_called FROM %s', c.oid::regclass, c.oid::regclass)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND n.nspname IN ('referral', 'public') ORDER BY c.oid::regclass::text \gexec
SQL
my $definitions = <<'SQL';
SET search_path = '';
CREATE FUNCTION pg_temp.acl(a aclitem[]) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(x::text, ' ' ORDER BY x::text) FROM pg_catalog.unnest(a) x $$;
SELECT 'relation', c.oid::regclass, c.relkind, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner), pg_temp.acl(c.relacl),
       c.reloptions, obj_description(c.oid, 'pg_class')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('referral', 'public') ORDER BY c.oid::regclass::text;
SELECT 'column', c.oid::regclass, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
       pg_get_expr(d.adbin, d.adrelid), pg_temp.acl(a.attacl), col_description(c.oid, a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE n.nspname IN ('referral', 'public') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY c.oid::regclass::text, a.attname;
SELECT 'index', pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('referral', 'public') ORDER BY 2;
SELECT 'constraint', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), k.convalidated
FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
WHERE n.nspname IN ('referral', 'public') AND k.conrelid <> 0 ORDER BY k.conrelid::regclass::text, k.conname;
SELECT 'trigger', pg_get_triggerdef(t.oid), t.tgenabled FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('referral', 'public') AND NOT t.tgisinternal ORDER BY 2;
SELECT 'policy', p.polrelid::regclass, p.polname, p.polcmd, p.polpermissive, (SELECT array_agg(r::regrole::text ORDER BY r::regrole::text) FROM unnest(p.polroles) r),
       pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid) FROM pg_policy p ORDER BY p.polrelid::regclass::text, p.polname;
SELECT 'view', c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND n.nspname IN ('referral', 'public') ORDER BY c.oid::regclass::text;
SELECT 'function', p.oid::regprocedure, pg_temp.acl(p.proacl), p.prosecdef, p.proconfig, md5(p.prosrc)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('referral', 'public') ORDER BY p.oid::regprocedure::text;
SELECT 'schema', nspname, pg_temp.acl(nspacl) FROM pg_namespace WHERE nspname IN ('referral', 'public') ORDER BY nspname;
SELECT 'member', pg_describe_object(classid, objid, 0) FROM pg_depend
WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'referral') AND deptype = 'e' ORDER BY 2;
SQL
# What reads the journal: a consumer with events in its hands, seals, a hold.
$origin->safe_psql('origin', q{SET referral.org_id = 1; SELECT referral.create_consumer('crm', start => '-infinity')});
$origin->safe_psql('origin', q{SET referral.org_id = 1; SELECT count(*) FROM referral.events('crm', 3)});
$origin->safe_psql('origin', q{SET referral.org_id = 1; SELECT referral.seal(); INSERT INTO referral.legal_hold (entity, entity_id, reason) VALUES ('referral', 1, 'a case')});
# What people and ticks do to clocks.
$origin->safe_psql('origin', <<'SQL');
SET referral.org_id = 1;
SELECT clock_id FROM referral.sla_clock WHERE policy = 'triage' AND stopped_at IS NULL ORDER BY clock_id LIMIT 1 \gset
SELECT referral.extend_clock(1, :clock_id, '1 hour', 'a fax'), referral.fire_clocks(ARRAY[1::bigint], ARRAY[:clock_id::bigint], now() + interval '60 days', true);
SELECT referral.pause_clock(1, clock_id, 'a strike') FROM referral.sla_clock WHERE policy = 'triage' AND stopped_at IS NULL AND clock_id <> :clock_id ORDER BY clock_id LIMIT 1;
INSERT INTO referral.sla_breach_review (clock_id, cause) VALUES (:clock_id, 'nobody was there');
SELECT referral.heartbeat_start('tick'), referral.heartbeat_end('tick');
SQL

# A row in every other table of the model, too, and a value in every column that may have one.
$origin->safe_psql('origin', "$model_rows; SET referral.org_id = 1; SELECT public.fill_rest(1, E'odd \\t\\n \\\\ text');");
$origin->safe_psql('origin', <<'SQL');
SET referral.org_id = 1;
SELECT public.fill_table(1, t::regclass, 'x') FROM unnest('{referral.patient,referral.document,referral.consult_report,referral.referral}'::text[]) t;
INSERT INTO referral.identifier (practitioner_id, value) SELECT practitioner_id, '1' FROM referral.practitioner;
INSERT INTO referral.identifier (provider_organization_id, value) SELECT provider_organization_id, '2' FROM referral.provider_organization;
INSERT INTO referral.identifier (referral_id, value) VALUES (1, '3');
INSERT INTO referral.network_contract (payer_id, practitioner_id) SELECT payer_id, practitioner_id FROM referral.payer, referral.practitioner;
INSERT INTO referral.network_contract (payer_id, healthcare_service_id) SELECT payer_id, healthcare_service_id FROM referral.payer, referral.healthcare_service;
INSERT INTO referral.prior_authorization (replaces_id) SELECT prior_authorization_id FROM referral.prior_authorization;
UPDATE referral.appointment SET step = 'arrived', status_reason = 'x';
INSERT INTO referral.extraction (document_id, field, value, confidence, model, model_version) SELECT max(document_id), 'patient.family', 'read', 0.1, 'm', '1' FROM referral.document;
INSERT INTO referral.document_classification (document_id, document_type, confidence, model, model_version) SELECT max(document_id), 'letter', 0.1, 'm', '1' FROM referral.document;
INSERT INTO referral.approval_delegation (from_member, to_member, during) VALUES ('restore_approver', 'restore_jane', '[2020-01-01,)');
INSERT INTO referral.approval_request (entity, entity_id, referral_id, level, quorum, policy, kind, approver_role, transitions, requested_by)
VALUES ('referral', 1, 1, 1, 1, 'restore', 'x', 'referral_approver', '{release}', 'somebody');
SELECT referral.withdraw_approval(1, max(approval_request_id), 'x') FROM referral.approval_request;
INSERT INTO referral.approval_request (entity, entity_id, referral_id, level, quorum, policy, kind, approver_role, transitions, requested_by)
VALUES ('referral', 1, 1, 1, 1, 'restore', 'x', 'referral_approver', '{release}', 'somebody');
SET SESSION AUTHORIZATION restore_jane;
SELECT referral.approve(1, max(approval_request_id)) FROM referral.approval_request;
SELECT referral.review_extraction(1, max(extraction_id), 'correct', 'better', 'x') FROM referral.extraction;
SELECT referral.review_classification(1, max(document_classification_id), 'correct', 'referral', 'x') FROM referral.document_classification;
SELECT referral.close_exception(1, min(exception_id), 'settled') FROM referral.exception_item;
RESET SESSION AUTHORIZATION;
INSERT INTO referral.rule_set (name, kind) VALUES ('mapping/full', 'mapping');
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'mapping/full';
INSERT INTO referral.source_mapping (rule_version_id, mapping) SELECT max(rule_version_id), 'full' FROM referral.rule_version;
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name) SELECT max(rule_version_id), 'full', 'patient.family', 'Last' FROM referral.rule_version;
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code) SELECT max(rule_version_id), 'full', 'x', 'y' FROM referral.rule_version;
INSERT INTO referral.source_of_record (rule_version_id, entity, owner_system) SELECT max(rule_version_id), 'patient', 'ehr' FROM referral.rule_version;
UPDATE referral.queue SET manager = 'somebody', calendar = 'us_business' WHERE name = 'intake';
UPDATE referral.work_item SET status = 'in-progress', owner = 'somebody', handed_over_by = 'another', escalated_to = 'referral_admin', claimed_at = now(),
    lease_until = 'infinity' WHERE work_item_id = (SELECT min(work_item_id) FROM referral.work_item WHERE is_primary AND closed_at IS NULL);
INSERT INTO referral.handoff (work_item_id, from_queue_id, to_queue_id, from_owner, reason, summary, status, released_at, released_by, returned_at, returned_by,
    return_reason, withdrawn_at, withdrawn_by)
SELECT h.work_item_id, h.from_queue_id, h.to_queue_id, 'somebody', 'x', 'x', n.status, now(), 'somebody', n.returned_at, 'x', 'x', n.withdrawn_at, 'x'
FROM (SELECT * FROM referral.handoff ORDER BY handoff_id LIMIT 1) h,
     (VALUES ('returned', now(), NULL), ('withdrawn', NULL, now())) n (status, returned_at, withdrawn_at);
INSERT INTO referral.routing_decision (entity, entity_id, queue_id, reason, rule, target_queue, owner, healthcare_service, overrides_id)
SELECT entity, entity_id, queue_id, 'person', 'x', 'intake', 'somebody', 'x', routing_decision_id FROM referral.routing_decision ORDER BY routing_decision_id LIMIT 1;
UPDATE referral.source_system SET default_mapping = 'full';
SQL
is($origin->safe_psql('origin', <<'SQL'), '', 'every column of the model has a value somewhere');
SELECT string_agg(x.name, ' ') FROM (
    SELECT a.attrelid::regclass || '.' || a.attname AS name,
           (xpath('//n/text()', query_to_xml(format('SELECT count(%I) AS n FROM %s', a.attname, a.attrelid::regclass), false, true, '')))[1]::text = '0' AS never
    FROM pg_attribute a
    WHERE a.attrelid IN (SELECT (public.model_tables()).relation) AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attrelid::regclass::text !~ '^referral\.(organization|journal|sla_|escalation|match_|patient_merge|merge_|consumer|delivery|legal_hold)') x
WHERE x.never
SQL
$origin->safe_psql('origin', 'DROP TABLE public.model_fixed; DROP FUNCTION public.fill_rest, public.fill_table, public.model_value, public.model_tables');

my %before = (
	contents => $origin->safe_psql('origin', $contents),
	definitions => $origin->safe_psql('origin', $definitions));
my @tables = $before{contents} =~ /^referral\.\w+\|\d+\|/gm;
cmp_ok(scalar @tables, '>=', 19, 'there are tables to compare');
my @empty = grep { !/^referral\.(journal_purge|journal_default|journal_\d{4}_\d\d)\|/ } $before{contents} =~ /^(referral\.\w+\|0\|)/gm;
is("@empty", '', 'with rows');

# The first difference of two texts, line by line; '' when they are equal.
sub difference
{
	my @old = split /\n/, shift;
	my @new = split /\n/, shift;
	my %old = map { $_ => 1 } @old;
	my %new = map { $_ => 1 } @new;

	return join("\n", (map { "- $_" } grep { !$new{$_} } @old), (map { "+ $_" } grep { !$old{$_} } @new));
}

# Checks a restored database, and that it goes on working.
sub check_restored
{
	my ($node, $database, $is_new_cluster, $name) = @_;
	my $run = sub { $node->safe_psql($database, shift) };

	is(difference($before{contents}, $run->($contents)), '', "$name: every row and sequence");
	is(difference($before{definitions}, $run->($definitions)), '', "$name: every definition, trigger state, policy and privilege");

	my $epoch = $run->('SELECT max(xid_epoch) FROM referral.journal_epoch');
	my $journal = $run->('SELECT max(journal_id) FROM referral.journal');

	# the first change of all is taken back, which must not leave the backend with an epoch that is not recorded
	$run->(<<'SQL');
SET SESSION AUTHORIZATION restore_jane;
BEGIN;
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 41;
ROLLBACK;
UPDATE referral.referral SET state = 'validated' WHERE referral_id = 41;
SQL
	is($run->(q{SELECT version, step FROM referral.referral WHERE referral_id = 41}), '2|validated', "$name: a move works");
	is($run->("SELECT version, transition, actor FROM referral.journal WHERE journal_id > $journal AND entity = 'referral'"), '2|validate|restore_jane',
		"$name: and is journaled, under a number that continues");
	is($run->("SELECT policy, stopped_at IS NULL FROM referral.sla_clock WHERE entity = 'referral' AND entity_id = 41 ORDER BY clock_id DESC LIMIT 1"),
		'eligibility|t', "$name: and a clock starts");
	$run->('CALL referral.tick()');
	is($run->("SELECT finished_at >= started_at FROM referral.heartbeat WHERE job = 'tick'"), 't', "$name: and ticks go on");
	is($run->('SELECT max(xid_epoch) FROM referral.journal'), $epoch + ($is_new_cluster ? 1 : 0),
		$is_new_cluster ? "$name: in a new epoch" : "$name: in the same epoch");
	is($run->('SELECT count(*) FROM referral.journal WHERE xid_epoch NOT IN (SELECT xid_epoch FROM referral.journal_epoch)'), 0,
		"$name: which is on record");
	is($run->(q{SELECT count(*) FROM referral.journal_epoch WHERE system_identifier = (SELECT system_identifier::text FROM pg_control_system())}),
		1, "$name: once for this cluster");
	is($run->('SELECT count(*) FROM (SELECT (xid_epoch, xid) < lag((xid_epoch, xid)) OVER (ORDER BY journal_id) AS back FROM referral.journal) x WHERE back'),
		0, "$name: so that (epoch, xid) keeps rising");
	is(state_of($node, $database, 'restore_jane', q{UPDATE referral.referral SET state = 'closed_loop' WHERE referral_id = 45}), 'RF001',
		"$name: an illegal move is refused");
	is(state_of($node, $database, 'restore_jane', q{UPDATE referral.referral SET state = 'closed_loop' WHERE referral_id = 9}), 'RF002',
		"$name: so is one that its guard blocks");
	is(state_of($node, $database, 'restore_jane', q{UPDATE referral.referral SET state = 'scheduled' WHERE referral_id = 1}), '',
		"$name: a suspended row resumes where its history says");
	is($run->(q{SET SESSION AUTHORIZATION restore_jane; INSERT INTO referral.patient (family, mrn) VALUES ('After', 'M99') RETURNING patient_id > 52}),
		't', "$name: ids continue");
	is($run->(q{SELECT count(*) FROM public.seen WHERE patient_id > 52}), 1, "$name: the added trigger fires once, the disabled one not");
	is($run->(q{SET SESSION AUTHORIZATION restore_jane; SELECT array_agg(DISTINCT org_id) FROM referral.patient}), '{1}',
		"$name: a login sees its organisation");
	is($run->(q{SET SESSION AUTHORIZATION restore_app; BEGIN; SET LOCAL referral.org_id = '2'; SELECT count(*) FROM referral.patient}), 1,
		"$name: an application the one it names");
	is(state_of($node, $database, 'restore_jane', q{INSERT INTO referral.patient (org_id, family) VALUES (2, 'x')}), '42501',
		"$name: nobody writes into another organisation");
	is(state_of($node, $database, $node->safe_psql($database, 'SELECT current_user'), 'DELETE FROM referral.journal'), 'RF007',
		"$name: the journal is append-only");
	is(state_of($node, $database, $node->safe_psql($database, 'SELECT current_user'), 'DELETE FROM referral.referral WHERE referral_id = 1'), '23503',
		"$name: the foreign key of the added table holds");
	is(state_of($node, $database, 'restore_author', q{UPDATE referral.reason_code SET display = 'x' WHERE rule_version_id = 1}), 'RF016',
		"$name: active rules cannot be changed");
	is($run->(q{SELECT referral.check_rule('referral.referral', 'public.near(specialty)')}), 'public.near(specialty)',
		"$name: the registered function is still the one registered");
	is($run->(q{UPDATE public.supplier SET state = 'ready_to_schedule' WHERE name = 'new' RETURNING version}), '3',
		"$name: the attached table has its guard");
	is(state_of($node, $database, $node->safe_psql($database, 'SELECT current_user'), q{UPDATE public.supplier SET state = 'closed_loop' WHERE name = 'old'}),
		'RF001', "$name: which refuses, too");
	is($run->(q{SELECT string_agg(kind || ' ' || name, ', ') FROM referral.deploy() WHERE action <> 'kept'}), '',
		"$name: deploy() finds everything in place");
}

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
is(errors_of($origin, 'pg_dump', '-f', "$dump.sql", 'origin'), '', 'pg_dump');
is(errors_of($origin, 'pg_dump', '-Fc', '-f', "$dump.custom", 'origin'), '', 'pg_dump -Fc');
is(errors_of($origin, 'pg_dumpall', '--roles-only', '-f', "$dump.roles"), '', 'pg_dumpall --roles-only');

# A new cluster has its superuser already.
my $superuser = $origin->safe_psql('postgres', 'SELECT current_user');
my $roles = slurp_file("$dump.roles");
$roles =~ s/^CREATE ROLE "?\Q$superuser\E"?;\n//m;
append_to_file("$dump.roles.sql", $roles);

foreach my $place ('same', 'new')
{
	my $node = $place eq 'same' ? $origin : new_cluster('fresh');

	is(errors_of($node, 'psql', '-X', '-q', '-d', 'postgres', '-f', "$dump.roles.sql"), '', 'roles in the new cluster')
	  if $place eq 'new';

	$node->safe_psql('postgres', "CREATE DATABASE plain_$place TEMPLATE template0");
	is(errors_of($node, 'psql', '-X', '-q', '-d', "plain_$place", '-f', "$dump.sql"), '', "psql into the $place cluster");
	check_restored($node, "plain_$place", $place eq 'new', "plain, $place cluster");

	$node->safe_psql('postgres', "CREATE DATABASE custom_$place TEMPLATE template0");
	is(errors_of($node, 'pg_restore', '-j', '2', '-d', "custom_$place", "$dump.custom"), '', "pg_restore into the $place cluster");
	check_restored($node, "custom_$place", $place eq 'new', "pg_restore, $place cluster");
}

is(difference($before{contents}, $origin->safe_psql('origin', $contents)), '', 'dumping changed nothing');

done_testing();

-- For tests that want rows in every table of the model (\ir ../lib/model_rows.sql): fill_table() makes one row of a table
-- with a value in every column that it may write, and fill_rest() one in every per-organisation table that lacks one, in
-- the order of their foreign keys. So a new table needs no words here, unless its checks ask for more than one column at
-- a time; then it stands in model_fixed.

-- Columns with a certain value, as SQL expressions; NULL leaves a column out.
CREATE TABLE public.model_fixed (relation text, column_name text, value text, PRIMARY KEY (relation, column_name));
INSERT INTO public.model_fixed VALUES
    ('identifier', 'practitioner_id', 'NULL'), ('identifier', 'provider_organization_id', 'NULL'), ('identifier', 'referral_id', 'NULL'),
    ('network_contract', 'practitioner_id', 'NULL'), ('network_contract', 'healthcare_service_id', 'NULL'),
    ('referral_relation', 'related_id', '(SELECT min(r.referral_id) FROM referral.referral r WHERE r.org_id = $1)'),
    ('prior_authorization', 'replaces_id', 'NULL'), ('patient', 'merged_into', 'NULL'),
    ('inbox_message', 'source', '''elsewhere'''), ('validation_result', 'findings', '''[]'''), ('source_system', 'zone', '''UTC'''), ('source_system', 'default_mapping', '(SELECT min(m.mapping) FROM referral.source_mapping m)'), ('site', 'timezone', '''UTC'''), ('eligibility_check', 'status', '''answered'''), ('exception_item', 'root_cause', '''other'''), ('extraction', 'field', '''patient.family'''),
    -- each one a day of its own: active coverage of one patient and priority does not overlap
    ('coverage', 'period', $$(SELECT daterange(d, d + 1) FROM (SELECT date '2026-01-01' + count(*)::integer AS d
                              FROM referral.coverage c WHERE c.org_id = $1) n)$$);

INSERT INTO public.model_fixed VALUES
    ('approval_request', 'approver_role', '''referral_approver'''), ('approval_decision', 'on_behalf_of', 'NULL'),
    ('approval_delegation', 'to_member', '''another'''), ('absence', 'substitute', '''another''');
INSERT INTO public.model_fixed VALUES
    ('handoff', 'from_queue_id', '(SELECT min(q.queue_id) FROM referral.queue q WHERE q.org_id = $1)'), ('handoff', 'checklist', '''[]'''),
    ('handoff', 'status', '''accepted'''), ('handoff', 'returned_at', 'NULL'), ('handoff', 'withdrawn_at', 'NULL');

-- A value for a column, as an expression in which $1 is the organisation and $2 the text that texts hold.
CREATE FUNCTION public.model_value(relation regclass, column_number smallint) RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    a record;
    target record;
    choice text;
BEGIN
    SELECT x.attname, x.atttypid, t.typcategory, t.typtype, t.typelem, c.relname INTO a
    FROM pg_attribute x JOIN pg_type t ON t.oid = x.atttypid JOIN pg_class c ON c.oid = x.attrelid
    WHERE x.attrelid = relation AND x.attnum = column_number;
    SELECT f.value INTO choice FROM public.model_fixed f WHERE f.relation = a.relname AND f.column_name = a.attname;
    IF FOUND THEN
        RETURN choice;
    END IF;
    IF a.attname = 'org_id' THEN
        RETURN '$1';
    END IF;
    -- a row that exists already, the last one that the foreign key allows
    SELECT k.confrelid::regclass AS relation, t.attname, cardinality(k.conkey) > 1 AS per_org INTO target
    FROM pg_constraint k JOIN pg_attribute t ON t.attrelid = k.confrelid AND t.attnum = k.confkey[array_position(k.conkey, column_number)]
    WHERE k.conrelid = relation AND k.contype = 'f' AND column_number = ANY (k.conkey) LIMIT 1;
    IF FOUND THEN
        RETURN format('(SELECT max(t.%I) FROM %s t%s)', target.attname, target.relation, CASE WHEN target.per_org THEN ' WHERE t.org_id = $1' ELSE '' END);
    END IF;
    -- the first of the values that a check lists
    SELECT (regexp_match(pg_get_constraintdef(k.oid), a.attname || $r$ = ANY \(ARRAY\['([^']*)'$r$))[1] INTO choice
    FROM pg_constraint k WHERE k.conrelid = relation AND k.contype = 'c' AND k.conkey = ARRAY[column_number]
      AND pg_get_constraintdef(k.oid) ~ (a.attname || ' = ANY') LIMIT 1;
    IF choice IS NOT NULL THEN
        RETURN quote_literal(choice);
    END IF;
    RETURN CASE
        WHEN a.typtype = 'e' THEN (SELECT quote_literal(e.enumlabel) FROM pg_enum e WHERE e.enumtypid = a.atttypid ORDER BY e.enumsortorder LIMIT 1)
        WHEN a.typcategory = 'A' AND (SELECT t.typcategory FROM pg_type t WHERE t.oid = a.typelem) = 'S' THEN 'ARRAY[$2]'
        WHEN a.typcategory = 'A' THEN quote_literal('{}')
        WHEN a.typcategory = 'S' AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = relation AND i.indisunique AND column_number = ANY (i.indkey))
        THEN format('$2 || (SELECT count(*) FROM %s)', relation)
        WHEN a.typcategory = 'S' THEN '$2'
        WHEN a.typcategory = 'N' THEN '1'
        WHEN a.typcategory = 'B' THEN 'true'
        WHEN a.typcategory = 'R' THEN format('%s(NULL, NULL)', a.atttypid::regtype)
        WHEN a.typcategory = 'T' THEN quote_literal('1 day')
        WHEN a.atttypid IN ('date'::regtype, 'timestamptz'::regtype) THEN 'now()'
        WHEN a.atttypid = 'time'::regtype THEN quote_literal('12:00')
        WHEN a.atttypid = 'bytea'::regtype THEN 'sha256(convert_to($2, ''UTF8''))'
        WHEN a.atttypid IN ('json'::regtype, 'jsonb'::regtype) THEN 'jsonb_build_object(''mark'', $2)'
        WHEN a.atttypid = 'uuid'::regtype THEN 'gen_random_uuid()'
        WHEN a.atttypid = 'xid8'::regtype THEN quote_literal('1') END;
END $$;

-- Inserts a row; what the guard keeps, and what is made by the table, is left to them.
CREATE FUNCTION public.fill_table(org bigint, relation regclass, mark text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    columns text;
    expressions text;
BEGIN
    SELECT string_agg(quote_ident(x.attname), ', ' ORDER BY x.attnum),
           string_agg(format('CAST(%s AS %s)', x.value, format_type(x.atttypid, x.atttypmod)), ', ' ORDER BY x.attnum)
    INTO columns, expressions
    FROM (SELECT a.attname, a.attnum, a.atttypid, a.atttypmod, public.model_value(relation, a.attnum) AS value
          FROM pg_attribute a
          WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped AND a.attidentity = '' AND a.attgenerated = ''
            AND NOT (a.attname IN ('version', 'entered_at', 'workflow_id', 'transition_id', 'state', 'step')
                     AND (a.attname = 'version' OR EXISTS (SELECT FROM pg_attribute s WHERE s.attrelid = a.attrelid
                          AND s.atttypid = 'referral.state'::regtype)))) x
    WHERE x.value IS DISTINCT FROM 'NULL' AND x.value IS NOT NULL;
    EXECUTE format('INSERT INTO %s (%s) SELECT %s', relation, columns, expressions) USING org, mark;
END $$;

-- The per-organisation tables, but what is written of partitions that are gone, in the order in which they refer to each other.
CREATE FUNCTION public.model_tables() RETURNS TABLE (relation regclass, id name) LANGUAGE sql STABLE AS $$
    SELECT c.oid::regclass, (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity <> '' AND NOT a.attisdropped LIMIT 1)
    FROM pg_class c
    WHERE c.relnamespace = 'referral'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'journal_purge'
      AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'org_id')
    ORDER BY c.oid
$$;

-- Fills every one of them that has no row of the organisation; with from_id, none numbered so or above.
CREATE FUNCTION public.fill_rest(org bigint, mark text, from_id bigint DEFAULT NULL) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t record;
    filled boolean;
    former text := current_setting('referral.org_id', true);
BEGIN
    PERFORM set_config('referral.org_id', org::text, true);
    FOR t IN SELECT * FROM public.model_tables() LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE org_id = $1%s)', t.relation,
                       CASE WHEN from_id IS NOT NULL AND t.id IS NOT NULL THEN format(' AND %I >= $2', t.id) ELSE '' END)
        INTO filled USING org, from_id;
        IF NOT filled THEN
            PERFORM public.fill_table(org, t.relation, mark);
        END IF;
    END LOOP;
    PERFORM set_config('referral.org_id', coalesce(former, ''), true);
END $$;

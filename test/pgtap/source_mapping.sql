-- Source mappings: CSV text as records, records as cases, what is refused when a rule is written, versions.
SELECT plan(88);
\ir ../lib/refused.sql
-- detail and hint by their beginning
CREATE FUNCTION refuses(statement text, code text, message text, detail text, hint text) RETURNS boolean LANGUAGE sql AS $$
    SELECT (r.code = refuses.code AND r.message LIKE refuses.message AND r.detail LIKE refuses.detail || '%' AND r.hint LIKE refuses.hint || '%') IS TRUE OR (diag(r::text) IS NOT NULL AND false)
    FROM refused(statement) r $$;
SET timezone = 'UTC';
SET client_min_messages = error;

-- 1. CSV

CREATE FUNCTION csv(content text, delimiter text DEFAULT NULL) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(line || ' ' || record, E'\n' ORDER BY line) FROM referral.csv_records(content, delimiter)$$;
SELECT is(csv(E'a,b\n1,2\n'), '2 {"a": "1", "b": "2"}', 'a line is a record');
SELECT is(csv(E'a,b\r\n1,2\r\n\r\n3,4'), E'2 {"a": "1", "b": "2"}\n4 {"a": "3", "b": "4"}', 'line ends of other systems, empty lines, no end of the last one');
SELECT is(csv(E'a,b\r1,2\r3,4'), E'2 {"a": "1", "b": "2"}\n3 {"a": "3", "b": "4"}', 'carriage returns alone end lines too');
SELECT is(csv(E'a,b\n"x, ""y""","1\n2"\nz,9'), E'2 {"a": "x, \\"y\\"", "b": "1\\n2"}\n4 {"a": "z", "b": "9"}', 'quotes hold delimiters, quotes and line ends, which count as lines');
SELECT is(csv(E'\uFEFFa;b\n1;2,5'), '2 {"a": "1", "b": "2,5"}', 'a byte order mark goes; the delimiter is what the first line has');
SELECT is(csv(E'a\tb\n1\t2'), '2 {"a": "1", "b": "2"}', 'a tab');
SELECT is(csv(E'a|b\n1|2'), '2 {"a": "1", "b": "2"}', 'a bar');
SELECT is(csv(E'a,b|c\n1,2|3', '|'), '2 {"c": "3", "a,b": "1,2"}', 'a delimiter that is given counts');
SELECT is(csv(E' a , b \n  1 ,\n , '), '2 {"a": "1"}' || E'\n3 {}', 'spaces around go, empty values are left out');
SELECT is(csv(E'a,a,\n1,2,3,4'), '2 {"a": "1", "_3": "3", "_4": "4", "a_2": "2"}', 'names that come again, are empty or missing get their number');
SELECT is(csv(E'a,a_3,a\n1,2,3'), '2 {"a": "1", "a_3": "2", "a_3_3": "3"}', 'also where another has that name already');
SELECT is(csv(E'x,_3\n1,2,3'), '2 {"x": "1", "_3": "2", "_3_3": "3"}', 'and beyond the last one');
SELECT is(csv(E'a,b'), NULL, 'a header alone has no records');
SELECT is(csv(NULL), NULL, 'null has none');
SELECT ok(refuses($$SELECT csv(E'a,b\n1,2\n"x,3\n4')$$, 'RF014', 'the text is no list of comma-separated values', 'Line 3:', '%'), 'a quote that is not closed');
SELECT ok(refuses($$SELECT csv('')$$, 'RF014', 'the text is no list of comma-separated values', 'Line 1:', '%'), 'nothing at all');
SELECT ok(refuses($$SELECT csv(repeat('a,', 2000))$$, 'RF014', '%', 'Line 1: it has too many', '%'), 'too many columns');
SELECT is((SELECT string_agg(fault, '; ') FROM referral.csv_records(E'a\n1\n' || repeat(',', 1700) || E'\n2')), '1701 values for 1 columns', 'too many values of one line');
SELECT ok(refuses($$SELECT csv('a', ',,')$$, 'RF020', 'a delimiter is one character of one byte', '%', '%'), 'a delimiter of two');
SELECT ok(refuses($$SELECT csv('a', '"')$$, 'RF020', 'a delimiter is one character of one byte', '%', '%'), 'a quote is none');
SELECT is((SELECT count(*)::int FROM referral.csv_records(E'a,b\n' || repeat(E'"x y",2\n', 20000))), 20000, 'many records');

-- 2. A mapping

CREATE ROLE map_author LOGIN IN ROLE referral_rule_author;
CREATE ROLE map_approver LOGIN IN ROLE referral_rule_approver;
INSERT INTO referral.rule_set (name, kind, owner) VALUES ('source_mapping/portal', 'source_mapping', 'Test');
SET SESSION AUTHORIZATION map_author;
INSERT INTO referral.rule_version (rule_set_id) SELECT rule_set_id FROM referral.rule_set WHERE name = 'source_mapping/portal' RETURNING rule_version_id AS v \gset
INSERT INTO referral.source_mapping (rule_version_id, mapping, zone) VALUES (:v, 'portal', 'America/Chicago');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, constant, format, translation, sort)
VALUES (:v, 'portal', 'patient.family', 'Last Name', NULL, NULL, NULL, 0), (:v, 'portal', 'patient.birth_date', 'DOB', NULL, 'MM/DD/YYYY|DD-Mon-YY', NULL, 0),
       (:v, 'portal', 'patient.sex', 'Sex', NULL, NULL, 'sex', 0), (:v, 'portal', 'patient.identifier', 'MRN', NULL, NULL, NULL, 0),
       (:v, 'portal', 'patient.identifier_system', NULL, 'PORTAL', NULL, NULL, 0), (:v, 'portal', 'referral.urgency', 'prio', 'routine', NULL, NULL, 0),
       (:v, 'portal', 'appointment.starts_at', 'when', NULL, 'MM/DD/YYYY HH12:MI AM|YYYY-MM-DD HH24:MITZ|YYYY-MM-DD HH24:MI', NULL, 0),
       (:v, 'portal', 'appointment.status', NULL, 'booked', NULL, NULL, 0), (:v, 'portal', 'referral.authorization_required', 'auth', NULL, NULL, NULL, 0),
       (:v, 'portal', 'referral.expected_value', 'value', NULL, NULL, NULL, 0), (:v, 'portal', 'coverage.priority', 'order', NULL, NULL, NULL, 0),
       (:v, 'portal', 'patient.phone', 'mobile', NULL, NULL, NULL, 1), (:v, 'portal', 'patient.phone', 'home', NULL, NULL, NULL, 2),
       (:v, 'portal', 'referral.reason_code', 'clinical.codes.1.code', NULL, NULL, NULL, 0), (:v, 'portal', 'referral.authored_at', 'written', NULL, NULL, NULL, 0);
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code) VALUES (:v, 'sex', 'F', 'female'), (:v, 'sex', ' m ', 'male'), (:v, 'sex', '?', '');
SELECT ok(refuses(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name) VALUES (%s, 'portal', 'patient.nothing', 'x')$$, :v), 'RF011', 'the source mapping "portal" cannot work', 'Attribute patient.nothing, column x: there is no such attribute.', '%canonical_attribute%'), 'an attribute that does not exist');
SELECT ok(refuses(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, format) VALUES (%s, 'portal', 'patient.given', 'x', 'YYYY-MM-DD')$$, :v), 'RF011', '%', 'Attribute patient.given, column x: only dates and times have a format.', '%'), 'a format of a name');
SELECT ok(refuses(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, format) VALUES (%s, 'portal', 'referral.expires_on', 'x', 'MM/YYYY')$$, :v), 'RF011', '%', 'Attribute referral.expires_on, column x: format MM/YYYY: It needs a year, a month and a day.', '%'), 'a format without a day');
SELECT ok(refuses(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, format) VALUES (%s, 'portal', 'referral.expires_on', 'x', 'YYYY-MM-DD|Q')$$, :v), 'RF011', '%', '%It has a letter that is no part of a date.', '%'), 'a format with a letter that means nothing');
SELECT ok(refuses(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, constant) VALUES (%s, 'portal', 'report.status', 'done')$$, :v), 'RF011', '%', 'Attribute report.status, without a column: the constant done is not one of its codes.', '%preliminary, final%'), 'a constant that is no code');
SELECT ok(refuses(format($$INSERT INTO referral.source_mapping (rule_version_id, mapping, zone) VALUES (%s, 'other', 'Mars/Olympus')$$, :v), 'RF011', '%', 'Its zone Mars/Olympus is no IANA name.', '%'), 'a zone that does not exist');
SELECT throws_ok(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute) VALUES (%s, 'portal', 'patient.given')$$, :v), '23514', NULL, 'neither column nor constant');
SELECT throws_ok(format($$INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name) VALUES (%s, 'none', 'patient.given', 'x')$$, :v), '23503', NULL, 'a mapping that does not exist');
SELECT ok(refuses($$SELECT referral.map_record('{}', 'portal')$$, 'RF019', 'there is no source mapping "portal"', 'No active version of rules has it.', '%'), 'a draft is not in force');
SELECT is(referral.map_record('{"Last Name": "Voss", "DOB": "02/30/1971"}', 'portal', :v) #- '{message,mapping_version}',
    '{"kind": "referral", "message": {"type": "record/portal"}, "patient": {"family": "Voss"}, "referral": {"urgency": "routine"}, "findings": [{"code": "invalid_date", "severity": "warning", "attribute": "patient.birth_date", "value": "02/30/1971", "position": "DOB", "detail": "There is no such day or time."}]}',
    'but can be tried by its version; a day that the calendar does not have is told from one that is written otherwise');
SELECT is(referral.map_record('{"DOB": "30.02.1971"}', 'portal', :v) #>> '{findings,0,detail}', 'It is not of the format of the mapping.', 'which is told, too');
SELECT is(referral.map_record('{"prio": "soon"}', 'portal', :v) #>> '{findings,0,detail}', 'Not one of the codes of the attribute.', 'as is a code');
SELECT ok(refuses(format($$SELECT referral.map_record('{}', 'other', %s)$$, :v), 'RF019', 'there is no source mapping "other"', format('Version %s of the rules does not have it.', :v), 'It has: portal.'), 'a version that has no such mapping');
SELECT ok(refuses(format($$SELECT referral.map_record('[]', 'portal', %s)$$, :v), 'RF014', 'a record is a JSON object', '%', '%'), 'nor is an array a record then');
SELECT is(referral.map_record('{}', 'portal', NULL), NULL, 'null for a null version');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name, translation) VALUES (:v, 'portal', 'referral.specialty', 'dept', 'departments');
SELECT ok(refuses(format($$UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = %s$$, :v), 'RF011', 'translation "departments" has no codes', '%', '%'), 'a translation without codes');
INSERT INTO referral.code_translation (rule_version_id, translation, source_code, target_code) VALUES (:v, 'departments', '17', 'cardiology'), (:v, 'departments', '*', 'general');
UPDATE referral.rule_version SET status = 'submitted' WHERE rule_version_id = :v;
SET SESSION AUTHORIZATION map_approver;
UPDATE referral.rule_version SET status = 'approved' WHERE rule_version_id = :v;
UPDATE referral.rule_version SET status = 'active' WHERE rule_version_id = :v;
RESET SESSION AUTHORIZATION;

-- 3. Records

CREATE FUNCTION mapped(record jsonb) RETURNS jsonb LANGUAGE sql AS $$SELECT referral.map_record(record, 'portal') - 'message' - 'kind'$$;
CREATE FUNCTION flagged(record jsonb) RETURNS text LANGUAGE sql AS
    $$SELECT string_agg(concat_ws(' ', f ->> 'code', f ->> 'severity', f ->> 'attribute', f ->> 'position', f ->> 'value'), '; ') FROM jsonb_array_elements(referral.map_record(record, 'portal') -> 'findings') f$$;
SELECT is(referral.map_record('{}', 'portal'), jsonb_build_object('kind', 'referral', 'message', jsonb_build_object('type', 'record/portal', 'mapping_version', :v), 'referral', '{"urgency": "routine"}'::jsonb),
          'an empty record: the constants of what is no element of a list, the mapping and its version');
SELECT is(mapped('{"Last Name": " O''Hara ", "DOB": "7/4/1976", "Sex": "f", "MRN": 123, "prio": "URGENT"}'),
          '{"patient": {"family": "O''Hara", "birth_date": "1976-07-04", "sex": "female", "identifiers": [{"value": "123", "system": "PORTAL"}]}, "referral": {"urgency": "urgent"}}', 'values, a code in any case, a number as a text, a constant that goes with it');
SELECT is(mapped('{"DOB": "04-Jul-76"}') #>> '{patient,birth_date}', '1976-07-04', 'the second format');
SELECT is(mapped('{"DOB": "04-Jul-45"}') #>> '{patient,birth_date}', '1945-07-04', 'nobody is born in the future');
SELECT is(flagged('{"DOB": "13/40/1976"}'), 'invalid_date warning patient.birth_date DOB 13/40/1976', 'no such day');
SELECT is(flagged('{"DOB": "02/29/1975"}'), 'invalid_date warning patient.birth_date DOB 02/29/1975', 'no leap year');
SELECT is(flagged('{"DOB": "02/29/1976"}'), NULL, 'a leap year');
SELECT is(flagged('{"DOB": "19761325"}'), 'invalid_date warning patient.birth_date DOB 19761325', 'not of the format');
SELECT is(flagged('{"DOB": "07/04/1976 x"}'), 'invalid_date warning patient.birth_date DOB 07/04/1976 x', 'something behind it');
SELECT is(flagged('{"DOB": "07/04/76"}'), 'invalid_date warning patient.birth_date DOB 07/04/76', 'a year of two digits where four are declared');
SELECT is(mapped('{"when": "3/9/2026 2:30 PM"}') #>> '{appointments,0,starts_at}', '2026-03-09T14:30:00.000000-05:00', 'a time of the mapping''s zone, in summer');
SELECT is(mapped('{"when": "3/6/2026 12:05 am"}') #>> '{appointments,0,starts_at}', '2026-03-06T00:05:00.000000-06:00', 'midnight, in winter');
SELECT is(mapped('{"when": "2026-03-09 14:30+0530"}') #>> '{appointments,0,starts_at}', '2026-03-09T14:30:00.000000+05:30', 'a zone of its own');
SELECT is(mapped('{"when": "2026-03-09 14:30"}') -> 'appointments', '[{"starts_at": "2026-03-09T14:30:00.000000-05:00", "status": "booked"}]', 'constants go with an element that has something');
SELECT is(mapped('{}') -> 'appointments', NULL, 'and make none');
SELECT is(flagged('{"when": "3/9/2026 14:30 PM"}'), 'invalid_time warning appointment.starts_at when 3/9/2026 14:30 PM', 'there is no 14 PM');
SELECT is(flagged('{"when": "2026-03-09 24:01"}'), 'invalid_time warning appointment.starts_at when 2026-03-09 24:01', 'nor 24:01');
SELECT is(mapped('{"written": "2026-03-09T14:30:05.5Z"}') #>> '{referral,authored_at}', '2026-03-09T14:30:05.500000+00:00', 'ISO 8601 where no format is declared');
SELECT is(mapped('{"written": "2026-03-09"}') #>> '{referral,authored_at}', '2026-03-09T00:00:00.000000-05:00', 'a day alone is its first moment');
SELECT is(mapped('{"Sex": "M"}') #>> '{patient,sex}', 'male', 'a code of the translation, without regard to case and spaces');
SELECT is(mapped('{"Sex": "?"}') #>> '{patient,sex}', NULL, 'a code that means nothing');
SELECT is(flagged('{"Sex": "?"}'), NULL, 'is no finding');
SELECT is(flagged('{"Sex": "Q"}'), 'invalid_code warning patient.sex Sex Q', 'one that is not known is');
SELECT is(mapped('{"dept": "17"}') #>> '{referral,specialty}', 'cardiology', 'a translated text');
SELECT is(mapped('{"dept": "99"}') #>> '{referral,specialty}', 'general', 'every other code');
SELECT is(flagged('{"prio": "soon"}'), 'invalid_code warning referral.urgency prio soon', 'not one of the codes of the attribute');
SELECT is(mapped('{"prio": "soon"}') #>> '{referral,urgency}', 'routine', 'then the constant counts');
SELECT is(mapped('{"auth": "y"}') #> '{referral,authorization_required}', 'true', 'yes');
SELECT is(mapped('{"auth": false}') #> '{referral,authorization_required}', 'false', 'a JSON boolean');
SELECT is(flagged('{"auth": "maybe"}'), 'invalid_value warning referral.authorization_required auth maybe', 'neither');
SELECT is(mapped('{"value": "-1250.50"}') #> '{referral,expected_value}', '-1250.50', 'a number');
SELECT is(flagged('{"value": "1,250"}'), 'invalid_value warning referral.expected_value value 1,250', 'no number');
SELECT is(flagged('{"value": "1e400000"}'), 'invalid_value warning referral.expected_value value 1e400000', 'nor that');
SELECT is(flagged('{"order": "1.5"}'), 'invalid_value warning coverage.priority order 1.5', 'no integer');
SELECT is(mapped('{"mobile": "", "home": "555"}') #>> '{patient,phone}', '555', 'the first column that has something');
SELECT is(mapped('{"mobile": "777", "home": "555"}') #>> '{patient,phone}', '777', 'in their order');
SELECT is(mapped('{"clinical": {"codes": [{"code": "A"}, {"code": "B"}]}}') #>> '{referral,reason_code}', 'B', 'a key within keys');
SELECT is(referral.map_record('{"clinical": {"codes": [{"code": "A"}, {"code": "B"}]}}', 'portal') #>> '{referral,reason_code}', 'B', 'an element by its number');
SELECT is(flagged('{"Last Name": {"x": 1}}'), 'invalid_value warning patient.family Last Name', 'an object is no name');
SELECT is(mapped('{"Last Name": null}') -> 'patient', NULL, 'null is nothing');
SELECT ok(refuses($$SELECT referral.map_record('[1]', 'portal')$$, 'RF014', 'a record is a JSON object', '%', '%'), 'an array is no record');
SELECT is(referral.map_record(NULL, 'portal'), NULL, 'null for null');

-- what is wrong with a file
SELECT results_eq($$SELECT line, record::text, fault FROM referral.csv_records(E'a,b\n1\n1,2\n1,2,3')$$, $$VALUES (2, '{"a": "1"}', '1 values for 2 columns'), (3, '{"a": "1", "b": "2"}', NULL), (4, '{"a": "1", "b": "2", "_3": "3"}', '3 values for 2 columns')$$, 'lines with fewer and more values');
SELECT is(referral.csv_columns(E' a ,b,a\n1,2'), '{a,b,a_3}', 'the columns of a file');
SELECT is(flagged('{"_line": 7, "DOB": "x"}'), 'invalid_date warning patient.birth_date line 7, DOB x', 'a finding says on which line');
SELECT is(flagged('{"_line": 7, "_fault": "1 values for 2 columns"}'), 'invalid_value warning line 7', 'and what is wrong with it');
SELECT is(flagged('{"_line": 2, "_columns": ["Last Name", "DOB", "Sex", "MRN", "when", "auth", "value", "order", "home", "clinical.codes.1.code", "written"]}'), 'missing warning referral.specialty line 2, dept',
          'a column that the mapping names and the file lacks; not where another column, or a constant, gives the attribute');

-- 4. Versions

SELECT referral.copy_rule_version(:v, 'urgent means stat') AS copy \gset
SELECT results_eq(format('SELECT attribute, column_name, constant, format, translation, sort FROM referral.source_mapping_field WHERE rule_version_id = %s ORDER BY source_mapping_field_id', :copy),
                  format('SELECT attribute, column_name, constant, format, translation, sort FROM referral.source_mapping_field WHERE rule_version_id = %s ORDER BY source_mapping_field_id', :v), 'a copy has all fields');
SELECT is((SELECT count(*)::int FROM referral.code_translation WHERE rule_version_id = :copy), 5, 'and all codes');
SELECT throws_ok(format($$UPDATE referral.source_mapping_field SET column_name = 'x' WHERE rule_version_id = %s$$, :v), 'RF016', NULL, 'what is in force is not edited');
-- a restore, or a server with other time zones, brings rows that no trigger has seen
SET session_replication_role = replica;
INSERT INTO referral.source_mapping (rule_version_id, mapping, zone) VALUES (:v, 'moved', 'Mars/Olympus');
INSERT INTO referral.source_mapping_field (rule_version_id, mapping, attribute, column_name) VALUES (:v, 'moved', 'referral.authored_at', 'at');
SET session_replication_role = origin;
UPDATE referral.source_mapping SET zone = 'UTC' WHERE rule_version_id = :copy;
SELECT ok(refuses($$SELECT referral.map_record('{"at": "2026-01-01T00:00:00"}', 'moved')$$, 'RF011', 'the time zone of source mapping "moved" is not known to this server', 'Times', 'Activate'), 'a zone that this server does not know');

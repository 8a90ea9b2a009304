-- HL7 v2: what a message becomes, what is refused and where, values by path, and that what is written reads the same.
-- A parser written out in PL/pgSQL says what random messages are.
SELECT plan(409);
\ir ../lib/refused.sql
SET search_path = referral, public;
SET timezone = 'UTC';
SELECT setseed(0.2026);

-- ---------- a message as jsonb ----------

SELECT is(hl7_parse(E'MSH|^~\\&|LAKESIDE|NORTH^1.2.3^ISO|||||REF^I12^REF_I12|\rPID|1||77^^^LAKE&1.9&ISO^MR~88||HALL^INGRID||19580314|""\rZZ9\rPRD'),
          '{"separators": "|^~\\&", "segments": [
             {"segment": "MSH", "1": ["|"], "2": ["^~\\&"], "3": ["LAKESIDE"], "4": [{"1": "NORTH", "2": "1.2.3", "3": "ISO"}],
              "9": [{"1": "REF", "2": "I12", "3": "REF_I12"}]},
             {"segment": "PID", "1": ["1"], "3": [{"1": "77", "4": {"1": "LAKE", "2": "1.9", "3": "ISO"}, "5": "MR"}, "88"],
              "5": [{"1": "HALL", "2": "INGRID"}], "7": ["19580314"], "8": ["\"\""]},
             {"segment": "ZZ9"}, {"segment": "PRD"}]}'::jsonb, 'a message');
SELECT is(hl7_parse('MSH|^~\&'), '{"separators": "|^~\\&", "segments": [{"segment": "MSH", "1": ["|"], "2": ["^~\\&"]}]}'::jsonb, 'the least there is');
SELECT is(hl7_parse(NULL), NULL, 'null for null');

-- The repetitions of one field, by how they are written.
CREATE FUNCTION public.field(value text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT referral.hl7_parse(E'MSH|^~\\&|\rZZZ|' || value || '|x') -> 'segments' -> 1 -> '1' $$;
CREATE TABLE public.written (value text, expected jsonb);
INSERT INTO public.written VALUES
    ('', NULL), ('^', NULL), ('~', NULL), ('&', NULL), ('^&~&^~', NULL),
    ('a', '["a"]'), ('a^', '["a"]'), ('a&', '["a"]'), ('a~', '["a"]'), ('a&^&~^', '["a"]'),
    ('^b', '[{"2": "b"}]'), ('a^b', '[{"1": "a", "2": "b"}]'), ('a^^c^', '[{"1": "a", "3": "c"}]'),
    ('&y', '[{"1": {"2": "y"}}]'), ('x&y', '[{"1": {"1": "x", "2": "y"}}]'), ('x&&z^b&', '[{"1": {"1": "x", "3": "z"}, "2": "b"}]'),
    ('a~b', '["a", "b"]'), ('~b', '["", "b"]'), ('a~~c~~', '["a", "", "c"]'), ('~~^b', '["", "", {"2": "b"}]'), ('a^b~c', '[{"1": "a", "2": "b"}, "c"]'),
    ('""', '["\"\""]'), ('^""', '[{"2": "\"\""}]'), (' ', '[" "]'), ('é^日本&𝄞', '[{"1": "é", "2": {"1": "日本", "2": "𝄞"}}]'),
    (repeat('^', 9) || 'j', '[{"10": "j"}]'), (repeat('^', 8) || 'i^j', '[{"9": "i", "10": "j"}]'), (repeat('&', 99) || 's', '[{"1": {"100": "s"}}]'),
    (repeat('^', 9998) || 'z', '[{"9999": "z"}]');
SELECT is(field(value), expected, 'written ' || left(value, 20)) FROM public.written;
SELECT is(hl7_parse('MSH|^~\&' || repeat('|', 998) || 'z') #> '{segments,0,1000}', '["z"]'::jsonb, 'field 1000');

-- ---------- escape sequences ----------

CREATE TABLE public.escaped (value text, expected text);
INSERT INTO public.escaped VALUES
    ('\F\', '|'), ('\S\', '^'), ('\T\', '&'), ('\R\', '~'), ('\E\', '\'), ('a\T\b\S\c', 'a&b^c'), ('\F\\F\', '||'), ('\E\F\E\', '\F\'),
    ('one\.br\two', E'one\ntwo'), ('\X41\', 'A'), ('\X4a4B\x', 'JKx'), ('\XC3A9\', 'é'), ('\X0D0A\', E'\r\n'), ('\X7C\', '|'),
    ('\H\loud\N\ er', 'loud er'), ('\X\', '\X\'), ('\X4\', '\X4\'), ('\X4G\', '\X4G\'), ('\X00\', '\X00\'), ('a\X410042\', 'a\X410042\'),
    ('\XE9\', '\XE9\'), ('\XEDA080\', '\XEDA080\'), ('\XC3\\XA9\', '\XC3\\XA9\'), ('\Cab12\', '\Cab12\'), ('\M123456\', '\M123456\'), ('\.sp2\', '\.sp2\'), ('\Zown\', '\Zown\'),
    ('\Q\', '\Q\'), ('\P\', '\P\'), ('\f\', '\f\'), ('\', '\'), ('\\', '\\'), ('\\\', '\\\'), ('C:\dir\file', 'C:\dir\file'), ('\x\F\', '\x\F\'), ('5\E\', '5\'), ('\E', '\E');
SELECT is(field(value) ->> 0, expected, 'escaped ' || value) FROM public.escaped;
SELECT is(field('\H\'), NULL, 'nothing but a dropped sequence is nothing');
SELECT is(field('\F\^a\T\b&\R\~\S\'), '[{"1": "|", "2": {"1": "a&b", "2": "~"}}, "^"]'::jsonb, 'decoded after it is taken apart');

-- ---------- separators ----------

SELECT is(hl7_parse('MSH' || s || E'\rZZZ' || translate('|a^b&c~d\F\\S\\T\\R\\E\', '|^~\&', s)) #> '{segments,1,1}',
          jsonb_build_array(jsonb_build_object('1', 'a', '2', jsonb_build_object('1', 'b', '2', 'c')), 'd' || translate('|^&~\', '|^~\&', s)), 'separators ' || s)
FROM unnest(ARRAY['|^~\&', '#$%!*', '!@;:.', ',.-_+', '{}[]/', '`''"<>']) s;
SELECT is(hl7_parse(E'MSH|^~\\&#|x\rZZZ|a\\P\\b#') #>> '{segments,1,1,0}', 'a#b#', 'a truncation character');
SELECT is(hl7_parse(E'MSH|^~\\&#|x') ->> 'separators', '|^~\&#', 'it is one of the separators');

-- ---------- framing ----------

CREATE FUNCTION public.lines(ends text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT replace(E'MSH|^~\\&|a\rPID|1|é\rZZ1|b', E'\r', ends) $$;
SELECT is(hl7_parse(t), hl7_parse(lines(E'\r')), 'framed: ' || what)
FROM (VALUES (lines(E'\n'), 'line feeds'), (lines(E'\r\n'), 'both'), (lines(E'\r') || E'\r', 'an end'), (lines(E'\r\n') || E'\r\n\r\n \t\r\n', 'blank lines at the end'),
             (lines(E'\r\r'), 'empty lines'), (lines(E'\n \n'), 'blank lines'), (E'\ufeff' || lines(E'\r'), 'byte order mark'), (E'\r\n\n' || lines(E'\r'), 'empty lines before'),
             (E'\x0b' || lines(E'\r') || E'\r\x1c\r', 'MLLP'), (E'\x0b' || lines(E'\r') || E'\x1c\r', 'MLLP without the last end'), (E'\x0b\ufeff' || lines(E'\r\n') || E'\r\n\x1c\r\n', 'all of it'),
             (E'FHS|^~\\&|f\rBHS|^~\\&|b\r' || lines(E'\r') || E'\rBTS|1\rFTS|1\r', 'an envelope'), (E'BHS\n' || lines(E'\n') || E'\nBTS', 'an empty envelope')) x (t, what);

-- ---------- what is refused ----------

CREATE FUNCTION public.quoted(value text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT 'SELECT referral.hl7_parse(' || quote_literal(value) || ')' $$;
CREATE TABLE public.broken AS
SELECT x.*, r.code, r.detail, r.message || r.detail || r.hint AS said
FROM (VALUES
    ('', 'Segment 1, character 1: the message does not start with MSH.'), (E'\ufeff\r\n', 'Segment 1, character 4: the message does not start with MSH.'),
    ('SECRET', 'Segment 1, character 1: the message does not start with MSH.'), (' MSH|^~\&|', 'Segment 1, character 1: the message does not start with MSH.'),
    (E'msh|^~\\&|\r', 'Segment 1, character 1: the message does not start with MSH.'), (E'PID|SECRET\rMSH|^~\\&|', 'Segment 1, character 1: the message does not start with MSH.'),
    ('MS', 'Segment 1, character 1: the message does not start with MSH.'), ('{"SECRET": 1}', 'Segment 1, character 1: the message does not start with MSH.'),
    ('MSH', 'Segment 1, character 4: a separator is missing in MSH-1 or MSH-2.'), ('MSH|', 'Segment 1, character 4: a separator is missing in MSH-1 or MSH-2.'),
    ('MSH||^~\&', 'Segment 1, character 4: a separator is missing in MSH-1 or MSH-2.'), ('MSH|^~\|SECRET', 'Segment 1, character 4: a separator is missing in MSH-1 or MSH-2.'),
    (E'MSH|^~\r\\&|', 'Segment 1, character 4: a separator is missing in MSH-1 or MSH-2.'), ('MSH|^~\&#$|', 'Segment 1, character 4: MSH-2 has more than five characters.'),
    ('MSH|^~\&SECRET', 'Segment 1, character 4: MSH-2 has more than five characters.'), ('MSH|^~^&|', 'Segment 1, character 4: two separators are the same character.'),
    ('MSH|^~\&&|', 'Segment 1, character 4: two separators are the same character.'), ('MSH|^~\A|', 'Segment 1, character 4: a separator is no ASCII punctuation mark.'),
    ('MSH ^~\& ', 'Segment 1, character 4: a separator is no ASCII punctuation mark.'), ('MSH|^~\é|', 'Segment 1, character 4: a separator is no ASCII punctuation mark.'),
    (E'MSH|^~\t&|', 'Segment 1, character 4: a separator is no ASCII punctuation mark.'), ('MSHX^~\&X', 'Segment 1, character 4: a separator is no ASCII punctuation mark.'),
    (E'MSH|^~\\&|é\rpid|SECRET', 'Segment 2, character 12: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|日本\r\n\r\nPID|1\r\nSECRET', 'Segment 3, character 23: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|\rBTS: SECRET', 'Segment 2, character 11: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|\rPIDX|', 'Segment 2, character 11: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|\rPID^1', 'Segment 2, character 11: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|\rPI', 'Segment 2, character 11: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|\r PID|1', 'Segment 2, character 11: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|\rPÉD|1', 'Segment 2, character 11: the line does not start with a segment''s name and a field separator.'),
    (E'MSH|^~\\&|SECRET\rPID|1\rMSH|^~\\&|', 'Segment 3, character 23: another message starts here.'),
    ('MSH|^~\&' || repeat('|', 10000), 'Segment 1, field 10000, character 10007: more than 9,999 fields, components or subcomponents.'),
    (E'MSH|^~\\&\rPID|a|' || repeat('^', 10000), 'Segment 2, field 2, character 10015: more than 9,999 fields, components or subcomponents.'),
    (E'MSH|^~\\&\rPID|a|' || repeat('&', 10000), 'Segment 2, field 2, character 10015: more than 9,999 fields, components or subcomponents.'),
    (E'MSH|^~\\&\rPID|' || repeat('~', 1000002), 'Segment 2, field 1, character 1000015: the message has more than 1,000,000 values.'),
    ('MSH|^~\&' || repeat(E'\rZZZ', 100000), 'Segment 100001, character 400006: the message has more than 100,000 segments.'),
    ('MSH|^~\&|' || repeat('x', 67108864), 'Segment 1, character 1: the message is larger than 64 MB.')) x (value, expected),
    refused(quoted(value)) r;
SELECT is(code || ' ' || detail, 'RF014 ' || expected, 'refused: ' || left(value, 20)) FROM public.broken;
SELECT is((SELECT count(*) FROM public.broken WHERE said ~ 'SECRET'), 0::bigint, 'messages do not tell what is in a message');
SELECT is(jsonb_array_length(hl7_parse('MSH|^~\&' || repeat(E'\rZZZ' || repeat('|', 20), 99999)) -> 'segments'), 100000, '100,000 segments of empty fields are read');
SELECT is(jsonb_array_length(hl7_parse('MSH|^~\&' || repeat(E'\rZZZ|' || repeat('~', 99) || 'x', 10000)) #> '{segments,10000,1}'), 100, '1,000,000 values are read');
SELECT is(length(hl7_parse('MSH|^~\&|' || repeat('x', 8000000)) #>> '{segments,0,3,0}'), 8000000, 'a long value is read');

-- ---------- values by path ----------

CREATE TABLE public.sample AS SELECT E'MSH|^~\\&|LAKE|N^1.2^ISO|||||REF^I12\rPID|1||77^^^A&1.9&I\\T\\O^MR~~8\\S\\8||H\\F\\L^ING&X^||""| |^\rPRD|RP\rPRD|RT|L&van^E\rPRD\rZZ1|^&b\rZZ2\rAIP|1|0~1|\\H\\|~~x' AS t;
CREATE TABLE public.path (path text, expected text);
INSERT INTO public.path VALUES
    ('MSH-1', '|'), ('MSH-2', '^~\&'), ('MSH-1.1', '|'), ('MSH-2.1.1', '^~\&'), ('MSH-2(2)', NULL), ('MSH-2.2', NULL), ('MSH(2)-1', NULL), ('MSH-3', 'LAKE'), ('MSH(1)-3(1).1.1', 'LAKE'),
    ('MSH-4', 'N^1.2^ISO'), ('MSH-4.1', 'N'), ('MSH-4.3', 'ISO'), ('MSH-4.4', NULL), ('MSH-9.2', 'I12'), ('MSH-10', NULL), ('MSH(2)-3', NULL),
    ('PID-1', '1'), ('PID-2', NULL), ('PID-3', '77^^^A&1.9&I\T\O^MR'), ('PID-3.1', '77'), ('PID-3.2', NULL), ('PID-3.4', 'A&1.9&I\T\O'), ('PID-3.4.3', 'I&O'), ('PID-3.4.4', NULL),
    ('PID-3.5.1', 'MR'), ('PID-3.5.2', NULL), ('PID-3(2)', NULL), ('PID-3(3)', '8^8'), ('PID-3(3).1', '8^8'), ('PID-3(3).2', NULL), ('PID-3(4)', NULL), ('PID-3(1000000)', NULL),
    ('PID-5', 'H\F\L^ING&X'), ('PID-5.1', 'H|L'), ('PID-5.2', 'ING&X'), ('PID-5.2.1', 'ING'), ('PID-7', '""'), ('PID-8', ' '), ('PID-9', NULL), ('PID-10', NULL), ('PID-9999', NULL), ('PID-1000000', NULL),
    ('PRD-1', 'RP'), ('PRD(1)-1', 'RP'), ('PRD(2)-1', 'RT'), ('PRD(2)-2.1', 'L&van'), ('PRD(2)-2.1.2', 'van'), ('PRD(3)-1', NULL), ('PRD(4)-1', NULL), ('ZZ1-1', '^&b'), ('ZZ1-1.1', NULL), ('ZZ1-1.2', '&b'), ('ZZ1-1.2.2', 'b'),
    ('ZZ2-1', NULL), ('ZZ3-1', NULL), ('AIP-2', '0'), ('AIP-2(2)', '1'), ('AIP-3', NULL), ('AIP-4', NULL), ('AIP-4(3)', 'x'), ('BTS-1', NULL);
SELECT is(hl7_get(hl7_parse(t), path), expected, 'jsonb: ' || path) FROM public.sample, public.path;
SELECT is((SELECT string_agg(path, ', ') FROM public.sample, public.path WHERE hl7_get(t, path) IS DISTINCT FROM expected), NULL, 'text gives the same for every path');
SELECT is((SELECT string_agg(path, ', ') FROM public.sample, public.path WHERE hl7_get(E'\x0b\ufeffBHS|x\n' || replace(t, E'\r', E'\r\n') || E'\nBTS|1\x1c\r', path) IS DISTINCT FROM expected), NULL, 'framed, too');
SELECT is(hl7_get(E'MSH|^~\\&|x\rbroken\rPID|1', 'PID-1'), '1', 'text: lines that are not asked for are not looked at');
SELECT is(hl7_get(hl7_parse(E'MSH#$%!*#a\rPID#b$c*d!F!|^'), 'PID-1'), 'b$c*d!F!|^', 'in the separators of the message');
SELECT is(hl7_get(NULL::text, 'PID-1') IS NULL AND hl7_get(t, NULL) IS NULL AND hl7_get(NULL::jsonb, 'PID-1') IS NULL, true, 'null for null') FROM public.sample;
SELECT is((refused(format('SELECT referral.hl7_get(%s, %L)', message, path))).code, 'RF020', format('no path: "%s"', path))
FROM unnest('{"","PID","PID-","PID-0","PID-01","PID-a","pid-1","PI-1","PIDX-1","PID(0)-1","PID()-1","PID(1-1","PID-1(","PID-1()","PID-1.","PID-1.0","PID-1.1.","PID-1.1.1.1","PID-1.1(1)","PID-1 "," PID-1","PID--1","PID-1000001","PID-99999999999999999999","PÉD-1"}'::text[]) WITH ORDINALITY x (path, n),
     LATERAL (SELECT CASE WHEN n % 2 = 0 THEN '''MSH|^~\&''::text' ELSE '''{}''::jsonb' END) y (message);
SELECT is((refused('SELECT referral.hl7_get(''SECRET'', ''PID-1'')')).detail, 'Segment 1, character 1: the message does not start with MSH.', 'text: what is no message is refused');
SELECT is(hl7_get(j, 'PID-1'), expected, 'jsonb that is no message: ' || j::text)
FROM (VALUES ('{}'::jsonb, NULL), ('[]', NULL), ('[{"segment": "PID", "1": ["x"]}]', NULL), ('1', NULL), ('"x"', NULL), ('null', NULL), ('{"segments": {}}', NULL),
             ('{"segments": [1, [], {}, {"segment": 7}, {"segment": "PIDX"}, {"segment": "PID"}, {"segment": "PID", "1": ["x"]}]}', NULL), ('{"segment": "PID", "1": "x"}', NULL),
             ('{"segment": "PID", "1": [null]}', NULL), ('{"segments": [[], 7, {"segment": "PID", "1": ["x"]}]}', 'x')) x (j, expected);

SELECT is((refused($$ SELECT referral.hl7_get('{"segment": "PID", "1": [7]}', 'PID-1') $$)).code, 'RF014', 'a value that is no text is refused');
SELECT is(hl7_count(hl7_parse(t), path), expected, 'count of ' || path)
FROM public.sample, (VALUES ('PRD', 3), ('MSH', 1), ('XXX', 0), ('PID-3', 3), ('PID(1)-3', 3), ('PID-1', 1), ('PID-2', 0), ('PRD(2)-2', 1), ('PRD(9)-2', 0), ('AIP-4', 3)) x (path, expected);
SELECT is((refused(format('SELECT referral.hl7_count(''{}'', %L)', path))).code, 'RF020', 'cannot be counted: ' || path) FROM unnest('{PID(1),PID-3(1),PID-3.1,PID-3.1.1,pid}'::text[]) path;
SELECT is((SELECT array_agg(hl7_get(s, 'PRD-1') ORDER BY n) FROM public.sample, hl7_segments(hl7_parse(t), 'PRD') WITH ORDINALITY x (s, n)), '{RP,RT,NULL}', 'segments in order, and values of each');
SELECT is((SELECT array_agg(s) FROM public.sample, hl7_segments(hl7_parse(t), 'PRD') s), (SELECT array_agg(s ORDER BY n) FROM public.sample, jsonb_array_elements(hl7_parse(t) -> 'segments') WITH ORDINALITY x (s, n) WHERE s ->> 'segment' = 'PRD'), 'each is that of the message');
SELECT is((SELECT hl7_get(s, 'PRD(2)-1') FROM public.sample, hl7_segments(hl7_parse(t), 'PRD') s LIMIT 1), NULL, 'a segment has no second one');
SELECT is_empty($$ SELECT hl7_segments(hl7_parse(t), 'XXX') FROM public.sample $$, 'no segment of that name');
SELECT is((refused('SELECT referral.hl7_segments(''{}'', ''PID-1'')')).code, 'RF020', 'segments: not by a path');

-- ---------- written ----------

SELECT is(hl7_build('{"segments": [{"segment": "MSH", "3": ["A"], "9": [{"1": "RRI", "2": "I12"}]}, {"segment": "MSA", "1": ["AA"], "2": ["7|8"]}, {"segment": "ZZZ", "2": ["", null, {"3": {"2": "x"}}, ""], "3": [""], "4": [], "5": null, "6": [{"2": ""}]}]}'),
          E'MSH|^~\\&|A||||||RRI^I12\rMSA|AA|7\\F\\8\rZZZ||~~^^&x\r', 'a message');
SELECT is(hl7_build(NULL), NULL, 'null for null');
SELECT is(hl7_build(jsonb_build_object('separators', s, 'segments', jsonb_build_array(jsonb_build_object('segment', 'MSH', '3', jsonb_build_array(E'|^~\\&#.\n\r\x1c\x0b\t' || chr(127) || 'é'))))), expected, 'escaped: ' || s)
FROM (VALUES ('|^~\&', E'MSH|^~\\&|\\F\\\\S\\\\R\\\\E\\\\T\\#.\\.br\\\\X0D\\\\X1C\\\\X0B\\\t' || chr(127) || E'é\r'), ('|^~\&#', E'MSH|^~\\&#|\\F\\\\S\\\\R\\\\E\\\\T\\\\P\\.\\.br\\\\X0D\\\\X1C\\\\X0B\\\t' || chr(127) || E'é\r'),
             ('!.:;,', E'MSH!.:;,!|^~\\&#;S;;X0A;;X0D;;X1C;;X0B;\t' || chr(127) || E'é\r')) x (s, expected);
SELECT is(hl7_get(hl7_build(hl7_parse(E'MSH|^~\\&|' || value)), 'MSH-3'), expected, 'escaped and written again: ' || value) FROM public.escaped;
SELECT is(hl7_build(hl7_parse(E'MSH|^~\\&|' || value)), E'MSH|^~\\&|' || expected || E'\r', 'as other readers want it: ' || value)
FROM (VALUES ('\Cab12\', '\Cab12\'), ('\.sp2\', '\.sp2\'), ('\Zown\', '\Zown\'), ('\XE9\', '\XE9\'), ('C:\dir\f', 'C:\E\dir\E\f'), ('\E\X41\E\', '\E\X41\E\'), ('\', '\E\')) x (value, expected);
CREATE TABLE public.misshapen AS
SELECT x.*, r.code, r.detail, r.message || r.detail || r.hint AS said
FROM (VALUES
    ('[]', 'It is not an object with the key "segments".'), ('"SECRET"', 'It is not an object with the key "segments".'), ('{"SECRET": 1}', 'It is not an object with the key "segments".'),
    ('{"segments": [{"segment": "MSH"}], "SECRET": 1}', 'It has another key than "segments" and "separators".'),
    ('{"segments": []}', '"segments" is not an array of segments.'), ('{"segments": {"segment": "MSH"}}', '"segments" is not an array of segments.'), ('{"segments": "SECRET"}', '"segments" is not an array of segments.'),
    ('{"segments": [{"segment": "MSH"}], "separators": 1}', '"separators" is not a string.'), ('{"segments": [{"segment": "MSH"}], "separators": "||~\\&"}', 'Two separators are the same character.'),
    ('{"segments": [{"segment": "MSH"}], "separators": "SECRET"}', 'A separator is no ASCII punctuation mark.'),
    ('{"segments": ["SECRET"]}', 'Segment 1: a segment is not an object whose "segment" is three capital letters or digits.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "pid"}]}', 'Segment 2: a segment is not an object whose "segment" is three capital letters or digits.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "SECRET"}]}', 'Segment 2: a segment is not an object whose "segment" is three capital letters or digits.'),
    ('{"segments": [{"segment": "MSH"}, {"3": ["SECRET"]}]}', 'Segment 2: a segment is not an object whose "segment" is three capital letters or digits.'),
    ('{"segments": [{"segment": "PID"}]}', 'Segment 1: the first segment, and no other, is MSH, and none is FHS, BHS, BTS or FTS.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "MSH"}]}', 'Segment 2: the first segment, and no other, is MSH, and none is FHS, BHS, BTS or FTS.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "BTS"}]}', 'Segment 2: the first segment, and no other, is MSH, and none is FHS, BHS, BTS or FTS.'),
    ('{"segments": [{"segment": "MSH", "1": ["#"]}]}', 'Segment 1: MSH-1 or MSH-2 is not what "separators" says.'), ('{"segments": [{"segment": "MSH", "2": "^~\\&"}]}', 'Segment 1: MSH-1 or MSH-2 is not what "separators" says.'),
    ('{"segments": [{"segment": "MSH", "2": ["^~\\&#"]}]}', 'Segment 1: MSH-1 or MSH-2 is not what "separators" says.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "5": "SECRET"}]}', 'Segment 2, field 5: a field is not an array of its repetitions.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "5": [7]}]}', 'Segment 2, field 5: a value is not a string.'), ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "5": [["SECRET"]]}]}', 'Segment 2, field 5: a value is not a string.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "5": [{"1": {"1": {"1": "SECRET"}}}]}]}', 'Segment 2, field 5: a value is not a string.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "SECRET": ["x"]}]}', 'Segment 2: a key is not the number of a field, component or subcomponent.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "0": ["x"]}]}', 'Segment 2: a key is not the number of a field, component or subcomponent.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "": ["x"]}]}', 'Segment 2: a key is not a number from 1 to 9,999.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "5": [{"01": "SECRET"}]}]}', 'Segment 2, field 5: a key is not the number of a field, component or subcomponent.'),
    ('{"segments": [{"segment": "MSH"}, {"segment": "PID", "5": [{"10000": "SECRET"}]}]}', 'Segment 2, field 5: a key is not a number from 1 to 9,999.')) x (value, expected),
    refused(format('SELECT referral.hl7_build(%L)', value)) r;
SELECT is(code || ' ' || detail, 'RF014 ' || expected, 'misshapen: ' || value) FROM public.misshapen;
SELECT is((SELECT count(*) FROM public.misshapen WHERE said ~ 'SECRET'), 0::bigint, 'nor is told what is in it');

-- ---------- random messages ----------

CREATE FUNCTION public.decode_oracle(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    rest text := value;
    decoded text := '';
    part text[];
    sequence text;
BEGIN
    LOOP
        part := regexp_match(rest, '^([^\\]*)(\\([^\\]*)\\)(.*)$');
        IF part IS NULL THEN
            RETURN decoded || rest;
        END IF;
        sequence := part[3];
        decoded := decoded || part[1] || CASE sequence WHEN 'F' THEN '|' WHEN 'S' THEN '^' WHEN 'R' THEN '~' WHEN 'E' THEN '\' WHEN 'T' THEN '&'
            WHEN 'H' THEN '' WHEN 'N' THEN '' WHEN '.br' THEN E'\n' WHEN 'X41' THEN 'A' WHEN 'X0d' THEN E'\r' ELSE part[2] END;
        rest := part[4];
    END LOOP;
END $$;

-- The parts of a value by number, and what they amount to at one rank.
CREATE FUNCTION public.rank_oracle(value text, separators text[]) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    parts jsonb;
BEGIN
    IF separators = '{}' THEN
        RETURN to_jsonb(nullif(public.decode_oracle(value), ''));
    END IF;
    SELECT jsonb_object_agg(n::text, public.rank_oracle(part, separators[2:])) INTO parts
    FROM unnest(string_to_array(value, separators[1])) WITH ORDINALITY x (part, n) WHERE public.rank_oracle(part, separators[2:]) IS NOT NULL;
    RETURN CASE WHEN parts - '1' = '{}' AND jsonb_typeof(parts -> '1') = 'string' THEN parts -> '1' ELSE parts END;
END $$;
CREATE FUNCTION public.segment_oracle(line text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    segment jsonb := jsonb_build_object('segment', left(line, 3));
    shift int := CASE WHEN line LIKE 'MSH%' THEN 0 ELSE -1 END;
    field record;
    repetitions jsonb;
    last int;
BEGIN
    IF shift = 0 THEN
        segment := segment || '{"1": ["|"]}';
    END IF;
    FOR field IN SELECT value, n + shift AS n FROM unnest(string_to_array(line, '|')) WITH ORDINALITY x (value, n) WHERE n > 1 LOOP
        IF shift = 0 AND field.n = 2 THEN
            segment := segment || jsonb_build_object('2', jsonb_build_array(field.value));
            CONTINUE;
        END IF;
        SELECT jsonb_agg(coalesce(v, '""') ORDER BY n) FILTER (WHERE n <= filled) INTO repetitions
        FROM (SELECT public.rank_oracle(part, '{^,&}') AS v, n, max(n) FILTER (WHERE public.rank_oracle(part, '{^,&}') IS NOT NULL) OVER () AS filled
              FROM unnest(string_to_array(field.value, '~')) WITH ORDINALITY x (part, n)) r;
        IF repetitions IS NOT NULL THEN
            segment := segment || jsonb_build_object(field.n::text, repetitions);
        END IF;
    END LOOP;
    RETURN segment;
END $$;
CREATE FUNCTION public.oracle(message text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
$$ SELECT jsonb_build_object('separators', '|^~\&', 'segments', jsonb_agg(public.segment_oracle(line) ORDER BY n)) FROM unnest(string_to_array(message, E'\r')) WITH ORDINALITY x (line, n) $$;

CREATE TABLE public.random_message AS
SELECT id, E'MSH|^~\\&|x' || string_agg(CASE WHEN n % 40 = 0 THEN E'\r' || (ARRAY['PID', 'ZZ1', 'PRD'])[1 + floor(random() * 3)::int] || '|'
                                             ELSE piece[1 + floor(random() * cardinality(piece))::int] END, '' ORDER BY n) AS t
FROM generate_series(1, 1000) id, generate_series(1, 150) n,
     (VALUES (ARRAY['|', '|', '|', '|', '^', '^', '^', '~', '&', '&', 'a', 'Bc', 'é', '日', '\', '\F\', '\E\', '\T\', '\X41\', '\X0d\', '\.br\', '\H\', '\Zq\', '""', ' ', 'word', '7'])) x (piece)
GROUP BY id;
CREATE TABLE public.random_parsed AS SELECT id, t, hl7_parse(t) AS j FROM public.random_message;
SELECT is((SELECT count(*) FROM public.random_parsed WHERE j <> oracle(t)), 0::bigint, 'random messages are what the parser written out says');
SELECT cmp_ok((SELECT count(DISTINCT j) FROM public.random_parsed), '>', 950::bigint, 'there are that many');
SELECT is((SELECT count(*) FROM public.random_parsed WHERE hl7_parse(hl7_build(j)) <> j), 0::bigint, 'what is written reads the same');
SELECT is((SELECT count(*) FROM public.random_parsed WHERE hl7_build(hl7_parse(hl7_build(j))) <> hl7_build(j)), 0::bigint, 'and is written the same');

-- parts without text, however far out, take no room and no time, and are looked at all the same
SELECT is(hl7_build('{"segments": [{"segment": "MSH"}, {"segment": "ZZZ", "1": ["a"], "4": [null, "", "b", {"3": "x", "7": {"9": ""}}], "9": [{"4": null}]}]}'),
          E'MSH|^~\\&\rZZZ|a|||~~b~^^x\r', 'no separators in front of what has no text');
CREATE TEMP TABLE sparse AS SELECT jsonb_build_object('segments', jsonb_build_array('{"segment": "MSH"}'::jsonb,
    jsonb_build_object('segment', 'ZZZ', '1', (SELECT jsonb_agg('{"9999": {"9999": null}}'::jsonb) FROM generate_series(1, 30000))))) AS message;
SET statement_timeout = '3s';
SELECT is(length(hl7_build(message)), 13, 'many of them are written at once') FROM sparse;
RESET statement_timeout;
SELECT is(r.code, 'RF014', 'what no part may be is refused where it has no text, too')
FROM refused($$SELECT referral.hl7_build('{"segments": [{"segment": "MSH"}, {"segment": "ZZZ", "9": [{"x": null}]}]}')$$) r;
SELECT is((SELECT count(*) FROM public.random_parsed WHERE NOT record_image_eq(ROW (j), ROW (j::text::jsonb))), 0::bigint, 'jsonb is to the byte as the server writes it');
SELECT is((SELECT count(*) FROM public.random_parsed, unnest('{PID-1,PID-2.1,PID-2(2),PID-3.2.1,PID(2)-4,ZZ1-1.2,ZZ1(2)-2,PRD-6.1.1,PRD(2)-3,MSH-3,PID-10}'::text[]) path
           WHERE hl7_get(t, path) IS DISTINCT FROM hl7_get(j, path)), 0::bigint, 'values by path: text and jsonb agree');
SELECT is(record_image_eq(ROW (j), ROW (j::text::jsonb)), true, 'many items: to the byte as the server writes it')
FROM hl7_parse(E'MSH|^~\\&' || repeat('|a', 70) || E'\rZZ1' || repeat('|a^b&c', 1200) || E'\rZZ2|' || repeat('x~', 100) || repeat(E'\rZZ3|q', 100)) j;

-- ---------- dates ----------

CREATE TABLE public.dated (value text, day date, utc text, chicago text);
INSERT INTO public.dated VALUES
    ('20220125', '2022-01-25', '2022-01-25 00:00:00+00', '2022-01-25 06:00:00+00'), ('2022012516', '2022-01-25', '2022-01-25 16:00:00+00', '2022-01-25 22:00:00+00'),
    ('202207251620', '2022-07-25', '2022-07-25 16:20:00+00', '2022-07-25 21:20:00+00'), ('20220125162059', '2022-01-25', '2022-01-25 16:20:59+00', '2022-01-25 22:20:59+00'),
    ('20220125162059.1', '2022-01-25', '2022-01-25 16:20:59.1+00', '2022-01-25 22:20:59.1+00'), ('20220125162059.0123', '2022-01-25', '2022-01-25 16:20:59.0123+00', '2022-01-25 22:20:59.0123+00'),
    ('202201251620+0315', '2022-01-25', '2022-01-25 13:05:00+00', '2022-01-25 13:05:00+00'), ('20220125233000-0600', '2022-01-25', '2022-01-26 05:30:00+00', '2022-01-26 05:30:00+00'),
    ('20220125233000.5-0600', '2022-01-25', '2022-01-26 05:30:00.5+00', '2022-01-26 05:30:00.5+00'), ('20220125+0100', '2022-01-25', '2022-01-24 23:00:00+00', '2022-01-24 23:00:00+00'),
    ('20220125-0000', '2022-01-25', '2022-01-25 00:00:00+00', '2022-01-25 00:00:00+00'), ('20240229', '2024-02-29', '2024-02-29 00:00:00+00', '2024-02-29 06:00:00+00'),
    ('00010101', '0001-01-01', '0001-01-01 00:00:00+00', '0001-01-01 05:50:36+00'), ('99991231235959', '9999-12-31', '9999-12-31 23:59:59+00', '10000-01-01 05:59:59+00'),
    ('202203130230', '2022-03-13', '2022-03-13 02:30:00+00', '2022-03-13 08:30:00+00'), ('202211060130', '2022-11-06', '2022-11-06 01:30:00+00', '2022-11-06 07:30:00+00');
SELECT is(hl7_date(value)::text || ', ' || hl7_timestamp(value)::text || ', ' || hl7_timestamp(value, 'America/Chicago')::text, concat_ws(', ', day, utc, chicago), 'dated ' || value) FROM public.dated;
SELECT is((SELECT count(*) FROM public.dated WHERE value !~ '[+-]' AND hl7_timestamp(value, 'America/Chicago') IS DISTINCT FROM hl7_timestamp(value)::timestamp AT TIME ZONE 'America/Chicago'), 0::bigint, 'local times are those of the server, in gaps and overlaps, too');
SELECT is((SELECT string_agg(value, ', ') FROM unnest('{"",2022,202201,19761325,19760013,20210230,20230229,19000229,20220100,2022012,202201251,2022012524,202201251660,20220125162060,202201251620591,20220125162059.,20220125162059.12345,202201251620.5,20220125162059.a,
    20220125+01,20220125+01000,20220125+0160,20220125+1600,20220125+,20220125Z,2022-01-25,20220125T1620,"20220125 "," 20220125",00000101,abc,"\"\"",１９７６0101,20220125^x,-20220125,+0100,99999999999999999999}'::text[]) value
           WHERE hl7_date(value) IS NOT NULL OR hl7_timestamp(value) IS NOT NULL), NULL, 'what is no date is null');
SELECT is(hl7_date(NULL) IS NULL AND hl7_timestamp(NULL) IS NULL AND hl7_timestamp('20220125', NULL) IS NULL, true, 'null for null');
SELECT is((SELECT count(*) FROM generate_series(date '1900-01-01', '2100-12-31', interval '1 day') d WHERE hl7_date(to_char(d, 'YYYYMMDD')) IS DISTINCT FROM d::date), 0::bigint, 'every day of two centuries');
SELECT is((refused(format('SELECT referral.hl7_timestamp(''20220125'', %L)', zone))).code, 'RF020', 'no zone: ' || left(zone, 10)) FROM unnest(ARRAY['', 'Mars/Base', repeat('x', 300)]) zone;

-- ---------- character sets and batches ----------

SELECT is(hl7_decode(convert_to(t, encoding)), t, 'MSH-18 ' || declared)
FROM (VALUES ('LATIN1', 'é', '8859/1'), ('LATIN2', 'ł', '8859/2'), ('ISO_8859_5', 'ж', '8859/5'), ('ISO_8859_6', 'س', '8859/6'), ('ISO_8859_7', 'Ω', '8859/7'), ('LATIN9', '€', '8859/15'), ('LATIN2', 'ł', 'ISO-8859-2'),
             ('UTF8', 'ж日', 'UNICODE UTF-8'), ('UTF8', 'ж日', 'unicode utf-8'), ('UTF8', 'ж', 'ASCII'), ('UTF8', 'ж', ''), ('UTF8', 'ж', 'no such set'), ('LATIN1', 'é', ''), ('LATIN1', 'é', 'UNICODE UTF-8'),
             ('GB18030', '汉', 'GB 18030-2000~8859/1'), ('BIG5', '漢', 'BIG-5'), ('WIN1252', '“', 'windows-1252')) x (encoding, sign, declared),
     LATERAL (SELECT E'BHS|^~\\&\r\nMSH|^~\\&' || repeat('|', 16) || declared || E'||\rPID|' || sign) y (t);
SELECT is(hl7_decode('\xfeff004d00530048007c005e007e005c0026007c00e9d83dde00'), 'MSH|^~\&|é😀', 'UTF-16');
SELECT is(hl7_decode('\xfffe4d00530048007c00'), 'MSH|', 'the other UTF-16');
SELECT is(hl7_decode('\xfffe00d84100ff'), '�A', 'half a character, and half of two bytes');
SELECT is(hl7_decode(convert_to(E'\ufeffMSH|^~\\&' || repeat('|', 16) || '8859/1|é', 'UTF8')), E'MSH|^~\\&' || repeat('|', 16) || '8859/1|é', 'a byte order mark goes before MSH-18');
SELECT is(hl7_decode('\xefbbbf'::bytea || convert_to(E'MSH|^~\\&' || repeat('|', 16) || '8859/2|ł', 'LATIN2')), E'MSH|^~\\&' || repeat('|', 16) || '8859/2|ł', 'unless the bytes are not UTF-8');
SELECT is(hl7_decode('\x4d53480041ff'), 'MSH Aÿ', 'NUL bytes');
SELECT is(hl7_decode(''), '', 'nothing');

SELECT is((SELECT array_agg(m ORDER BY n) FROM hl7_split(batch) WITH ORDINALITY x (m, n)), expected, what)
FROM (VALUES (E'MSH|^~\\&|a\rPID|1\r', ARRAY[E'MSH|^~\\&|a\rPID|1'], 'a single message'), (E'MSH|a\nPID|1\n\nMSH|b\n', ARRAY[E'MSH|a\nPID|1', 'MSH|b'], 'two messages'),
             (E'MSH|^~\\&|a\rNTE|1||Allergies:\rBTS: penicillin\rBHS^x\rNTE|2', ARRAY[E'MSH|^~\\&|a\rNTE|1||Allergies:\rBTS: penicillin\rBHS^x\rNTE|2'], 'a text with the name of an envelope'),
             (E'FHS|^~\\&|a\rMSH|^~\\&|a\rFTS|1\rBHS#^~\\&#a\rMSH#^~\\&#b\rBTS#1', ARRAY[E'MSH|^~\\&|a', E'MSH#^~\\&#b'], 'two files with separators of their own'),
             (E'\x0bMSH|a\rPID|1\r\x1c\r\x0bMSH|b\r\x1c\r', ARRAY[E'MSH|a\rPID|1', 'MSH|b'], 'two frames'), (E'\ufeffFHS|^~\\&\r\nBHS|^~\\&\r\nMSH|a\r\nPID|1\r\nBTS|1\r\nBHS\r\nMSH|b\r\nBTS\r\nFTS|2', ARRAY[E'MSH|a\r\nPID|1', 'MSH|b'], 'a file of batches'),
             (E'junk\rmore\rMSH|a\rbroken\rBTS\rstray\r', ARRAY[E'junk\rmore', E'MSH|a\rbroken', 'stray'], 'what belongs to no message is not lost'), ('', NULL, 'nothing'), (E'\r\n \r\n\x1c', NULL, 'nothing but blanks')) x (batch, expected, what);
SELECT is((SELECT array_agg(hl7_get(m, 'MSH-10') ORDER BY n) FROM hl7_split((SELECT string_agg(E'MSH|^~\\&||||||||' || i || E'\rPID|' || i, E'\r\n') FROM generate_series(1, 1000) i)) WITH ORDINALITY x (m, n)),
          (SELECT array_agg(i::text) FROM generate_series(1, 1000) i), 'a thousand');

-- ---------- messages of other senders ----------

\set sample `base64 -w0 test/data/ref_i12.hl7`
SELECT is(hl7_parse(hl7_build(j)), j, 'our own sample reads back') FROM hl7_parse(hl7_decode(decode(:'sample', 'base64'))) j;
\set files `for f in "$REFERRAL_SHARED"/health/hl7v2/ms/*.hl7; do [ -f "$f" ] && echo "$(basename "$f") $(base64 -w0 "$f")"; done`
CREATE TABLE public.file AS SELECT split_part(line, ' ', 1) AS name, hl7_decode(decode(split_part(line, ' ', 2), 'base64')) AS t FROM unnest(string_to_array(rtrim(:'files', E'\n'), E'\n')) line WHERE line <> '';
SELECT CASE WHEN (SELECT count(*) FROM public.file) = 0 THEN skip('the published messages are not there', 4) ELSE collect_tap(
    is((SELECT count(*) FROM public.file WHERE hl7_parse(hl7_build(hl7_parse(t))) <> hl7_parse(t)), 0::bigint, 'published messages read back'),
    is((SELECT count(*) FROM public.file WHERE NOT record_image_eq(ROW (hl7_parse(t)), ROW (hl7_parse(t)::text::jsonb))), 0::bigint, 'to the byte as the server writes them'),
    is((SELECT string_agg(name, ', ') FROM public.file WHERE hl7_get(t, 'MSH-9.1') || '-' || hl7_get(t, 'MSH-9.2') <> left(name, 7)), NULL, 'of the kinds that their names tell'),
    is((SELECT count(*) FROM public.file WHERE hl7_get(t, 'PID-5.1.1') = 'EVERYMAN' AND hl7_date(hl7_get(t, 'PID-7')) IS NOT NULL), (SELECT count(*) FROM public.file), 'with a patient of a name and a birth date')) END;

SELECT * FROM finish();

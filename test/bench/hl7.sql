-- Messages for hl7.bench.sh: our own sample, made as long as a usual REF^I12, and published ones where they are there.
\ir lib.sql

CREATE TABLE bench.message (kind text PRIMARY KEY, t text NOT NULL, j text);

\set own `base64 -w0 ../data/ref_i12.hl7`
INSERT INTO bench.message
SELECT 'own', referral.hl7_decode(decode(:'own', 'base64'))
              || (SELECT string_agg(format(E'OBX|%s|CWE|3094-0^Urea nitrogen^LN||R97.2^Elevated antigen&v2&x^I10|mg/dL^^UCUM|7-18|H|||F|||20261101101500-0600||12^HOLM^ANNA^^^DR~13^DAHL^OLE\rNTE|%s|L|Seen with \\T\\ and \\F\\ in it',
                                           i, i), E'\r') FROM generate_series(1, 24) i);
\set files `for f in REF-I12-01 SIU-S12-01; do f="$REFERRAL_SHARED/health/hl7v2/ms/$f.hl7"; [ -f "$f" ] && echo "$(basename "$f" .hl7) $(base64 -w0 "$f")"; done`
INSERT INTO bench.message
SELECT lower(left(line, 3)), referral.hl7_decode(decode(split_part(line, ' ', 2), 'base64'))
FROM unnest(string_to_array(rtrim(:'files', E'\n'), E'\n')) line WHERE line <> '';
UPDATE bench.message SET j = referral.hl7_parse(t)::text;

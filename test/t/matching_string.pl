# The string measures in databases of other encodings than UTF8: characters of one and of several bytes, and bytes of
# which the server does not know what they mean.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('matching_string');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;

# A database of an encoding. It gets the functions alone: the extension's model wants UTF8, and its script cannot be read
# in every encoding.
sub create
{
	my ($encoding) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $encoding TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql($encoding, <<'SQL');
CREATE SCHEMA referral;
CREATE FUNCTION referral.jaro_winkler(text, text) RETURNS float8 LANGUAGE C STRICT AS '$libdir/referral';
CREATE FUNCTION referral.damerau_levenshtein(text, text, integer DEFAULT 2147483647) RETURNS integer
LANGUAGE C STRICT AS '$libdir/referral';
CREATE FUNCTION referral.double_metaphone_keys(text) RETURNS text[] LANGUAGE C STRICT AS '$libdir/referral';
SQL
}

# What a statement, written in UTF-8, answers.
sub answer
{
	my ($database, $sql) = @_;

	return $node->safe_psql($database, "SET client_encoding = 'UTF8'; $sql");
}

create('latin1');
is(answer('latin1', "SELECT referral.jaro_winkler('José', 'Jose') = referral.jaro_winkler('Josx', 'Jose')"),
	't', 'LATIN1: a byte is a character');
is(answer('latin1', "SELECT referral.damerau_levenshtein('Muñoz', 'Munoz'), referral.damerau_levenshtein(repeat('é', 70), 'é')"),
	'1|69', 'LATIN1: distances');
is(answer('latin1', "SELECT referral.double_metaphone_keys('Müller'), referral.double_metaphone_keys('Schmidt')"),
	'{MLR}|{XMT,SMT}', 'LATIN1: ASCII letters are heard');

create('euc_jp');
is(answer('euc_jp', "SELECT referral.jaro_winkler('大谷翔平', '大谷翔太') = referral.jaro_winkler('abcd', 'abce')"),
	't', 'EUC_JP: two bytes are a character');
is(answer('euc_jp', "SELECT referral.damerau_levenshtein('山田太郎', '山田郎太'), referral.damerau_levenshtein(repeat('山', 70), 'a')"),
	'1|70', 'EUC_JP: distances');
is(answer('euc_jp', "SELECT referral.double_metaphone_keys('山田')"), '{}', 'EUC_JP: other scripts are not heard');

create('sql_ascii');
is($node->safe_psql('sql_ascii', "SELECT referral.damerau_levenshtein('José', 'Jose'), referral.jaro_winkler('José', 'José')"),
	'2|1', 'SQL_ASCII: each byte is a character');

# Any bytes but zero, of all lengths up to 80
is($node->safe_psql('sql_ascii', <<'SQL'), '0', 'SQL_ASCII: any bytes can be compared');
SELECT setseed(0.5) \g /dev/null
CREATE FUNCTION random_bytes(size int) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT coalesce(string_agg(chr(1 + floor(random() * 255)::int), ''), '') FROM generate_series(1, size) $$;
CREATE TABLE pair AS SELECT random_bytes(n % 81) AS a, random_bytes(n * 7 % 81) AS b FROM generate_series(1, 2000) n;
SELECT count(*) FROM pair
WHERE referral.jaro_winkler(a, b) <> referral.jaro_winkler(b, a) OR (referral.jaro_winkler(a, b) = 1) <> (a = b)
   OR referral.damerau_levenshtein(a, b) > greatest(length(a), length(b)) OR cardinality(referral.double_metaphone_keys(a)) > 2;
SQL

$node->stop;
done_testing();

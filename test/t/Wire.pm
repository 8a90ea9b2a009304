# One backend, spoken to in its own protocol: for values in large numbers, and for ones that psql could not pass on.
package Wire;
use strict;
use warnings;
use IO::Socket::UNIX;

sub new
{
	my ($class, $node) = @_;
	my $user = $node->safe_psql('postgres', 'SELECT current_user');
	my $socket = IO::Socket::UNIX->new(Peer => $node->host . '/.s.PGSQL.' . $node->port) or die "cannot connect: $!";
	my $self = bless { socket => $socket }, $class;
	my $startup = pack('N', 196608) . "user\0$user\0database\0postgres\0\0";
	$socket->syswrite(pack('N', length($startup) + 4) . $startup);
	$self->_replies(1);
	$self->query("SET client_encoding = 'UTF8'");
	return $self;
}

sub _receive
{
	my ($self, $n) = @_;
	my $data = '';
	while (length($data) < $n)
	{
		$self->{socket}->sysread($data, $n - length($data), length($data)) or die "the backend is gone\n";
	}
	return $data;
}

sub _send
{
	my ($self, $data) = @_;
	while (length $data)
	{
		my $written = $self->{socket}->syswrite($data) or die "the backend is gone\n";
		substr($data, 0, $written, '');
	}
}

sub _message
{
	my ($type, $body) = @_;
	return $type . pack('N', length($body) + 4) . $body;
}

# What came back up to the end of so many statements: for each [rows' only columns, SQLSTATE or undef, all fields].
sub _replies
{
	my ($self, $n) = @_;
	my @replies;
	my $reply = [];
	while (@replies < $n)
	{
		my ($type, $length) = unpack('a N', $self->_receive(5));
		my $body = $self->_receive($length - 4);
		if ($type eq 'D')
		{
			my ($columns, $size) = unpack('n N', $body);
			$reply->[0] = $size == 0xFFFFFFFF ? undef : substr($body, 6, $size);
		}
		elsif ($type eq 'E')
		{
			my %field = map { (substr($_, 0, 1), substr($_, 1)) } grep { length } split /\0/, $body;
			$reply->[1] = $field{C};
			$reply->[2] = $body;
		}
		elsif ($type eq 'Z')
		{
			push @replies, $reply;
			$reply = [];
		}
	}
	return @replies;
}

# The only column of the last row of a statement.
sub query
{
	my ($self, $sql) = @_;
	$self->_send(_message('Q', "$sql\0"));
	my ($reply) = $self->_replies(1);
	die $reply->[2] if $reply->[1];
	return $reply->[0];
}

# A statement with one parameter, under a name.
sub prepare
{
	my ($self, $name, $sql, $type) = @_;
	my $oid = $self->query("SELECT '$type'::regtype::oid::int");
	$self->_send(_message('P', "$name\0$sql\0" . pack('nN', 1, $oid)) . _message('S', ''));
	my ($reply) = $self->_replies(1);
	die $reply->[2] if $reply->[1];
}

# Runs a prepared statement for each value in text (0) or binary (1) format: so few at a time that neither side waits
# for the other to read.
sub send_values
{
	my ($self, $name, $format, $result_format, @values) = @_;
	my @replies;
	while (my @some = splice @values, 0, 50)
	{
		$self->_send(join '', map {
			_message('B', "\0$name\0" . pack('n n n N', 1, $format, 1, length $_) . $_ . pack('n n', 1, $result_format))
			  . _message('E', "\0" . pack('N', 0)) . _message('S', '')
		} @some);
		push @replies, $self->_replies(scalar @some);
	}
	return @replies;
}

sub close
{
	my ($self) = @_;
	$self->{socket}->close;
}

1;

#!/usr/bin/perl
# Makes every system call that lsbaws needs in its sandbox, and some that the sandbox must deny. Fails if a filter of
# the unit decides otherwise: it answers EPERM.
use strict;
use warnings;
use Errno qw(EPERM);

# Numbers of x86-64 (arm64 has others).
exit 0 if `uname -m` ne "x86_64\n";

my $faults = 0;
sub judge {
    my ($name, $wanted, $number, @arguments) = @_;
    $! = 0;
    my $result = syscall($number, @arguments);
    my $denied = $result == -1 && $! == EPERM;
    return if $denied == ($wanted eq "denied");
    print STDERR "$name: ", $denied ? "denied" : "permitted", "\n";
    $faults++;
}
sub permit { my $name = shift; judge($name, "permitted", @_) }
sub deny { my $name = shift; judge($name, "denied", @_) }

my ($empty, $buffer) = ("\0", "\0" x 256);
# Arguments that have no effect; most fail with another error than EPERM.
permit("memfd_create", 319, "test", 0);
permit("pidfd_open", 434, $$, 0);
permit("pidfd_send_signal", 424, -1, 0, 0, 0);
permit("waitid", 247, 0, 0, 0, 0, 0);
permit("wait4", 61, -1, 0, 1, 0);
permit("execve", 59, $empty, 0, 0);
permit("execveat", 322, -1, $empty, 0, 0, 0);
permit("epoll_create1", 291, 0);
permit("epoll_ctl", 233, -1, 1, -1, 0);
permit("epoll_pwait", 281, -1, 0, 0, 0, 0);
permit("ppoll", 271, 0, 0, "\0" x 16, 0, 8);
permit("setpgid", 109, 999_999_999, 0);
permit("prctl", 157, 3, 0, 0, 0, 0); # PR_GET_DUMPABLE
permit("prctl", 157, 36, 1, 0, 0, 0); # PR_SET_CHILD_SUBREAPER
permit("prlimit64", 302, 0, 7, 0, $buffer);
permit("landlock_create_ruleset", 444, 0, 0, 1);
permit("landlock_add_rule", 445, -1, 1, 0, 0);
permit("landlock_restrict_self", 446, -1, 0);
permit("seccomp", 317, 2, 0, $buffer); # SECCOMP_GET_ACTION_AVAIL
permit("capget", 125, 0, 0);
permit("close_range", 436, 1_000_000, 1_000_001, 0);
permit("openat2", 437, -100, $empty, $buffer, 24);
permit("fcntl", 72, -1, 1033, 0); # F_ADD_SEALS
permit("sendmsg", 46, -1, 0, 0);
permit("timerfd_create", 283, 1, 0);
permit("signalfd4", 289, -1, 0, 8, 0);
permit("socketpair", 53, 1, 5, 0, $buffer); # AF_UNIX, SOCK_SEQPACKET

deny("ptrace", 101, 0, 0, 0, 0);
deny("pidfd_getfd", 438, -1, -1, 0);
deny("bpf", 321, 0, 0, 0);
deny("mount", 165, 0, 0, 0, 0, 0);
deny("setuid", 105, 0);
deny("setpriority", 141, 0, 0, 0);

# A child in a session of its own; CLONE_PARENT needs another than process 1 as parent, so an ordinary fork first.
my $child = fork;
if (!$child) {
    permit("setsid", 112);
    my $pid = syscall(56, 0x8000 | 17, 0, 0, 0, 0); # clone(CLONE_PARENT | SIGCHLD)
    print STDERR "clone: $!\n" if $pid == -1;
    syscall(231, $pid == -1 || $faults ? 1 : 0); # exit_group: both processes
}
for (1, 2) {
    wait;
    $faults++ if $?;
}

# The program itself, by /proc.
my $self = readlink "/proc/self/exe" // "";
if ($self !~ /perl/ || system({ "/proc/self/exe" } "perl", "-e", "exit 0")) {
    print STDERR "/proc/self/exe: $!\n";
    $faults++;
}
print STDERR "all system calls as expected\n" if !$faults;
exit($faults ? 1 : 0);

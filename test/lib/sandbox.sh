# shellcheck shell=bash
#
# sandbox.sh: a private copy of the server, and throw-away clusters on it.
#
# To be sourced by bash scripts with "set -euo pipefail". Nothing is installed
# into the system and no existing cluster is touched: the server's files, as
# pg_config names them, are copied below one directory of our own (PostgreSQL
# finds its files relative to its programs), the extension is installed there
# with DESTDIR, and clusters, keys and sockets live there too.
#
# PostgreSQL refuses to run as root. When we are root, servers and tests run
# as user postgres, or nobody; everything they need is copied to where that
# user can read it, because the clone may lie in a directory only root enters.
#
#   sandbox_create            makes the directory and the copy
#   sandbox_install           builds the extension and installs it into the copy
#   sandbox_as COMMAND ...    runs a command as the server's user, with the
#                             copy's programs on PATH and a clean environment
#   sandbox_cluster NAME [SETTING ...]
#                             makes and starts a cluster with a keyring
#   sandbox_signing_key NAME  makes a key for checkpoints; prints the SETTING
#   sandbox_stop NAME, sandbox_start NAME
#   sandbox_set NAME SETTING  adds a line to postgresql.conf and loads it
#   sandbox_network ADDRESS   lets clients come from another loopback address
#   sandbox_wait COMMAND ...  as sandbox_as, without holding up signals
#
# Everything is stopped and deleted when the script exits, however it does.
#
# Variables: SANDBOX (the directory), SANDBOX_REPO (the clone), SANDBOX_BIN,
# SANDBOX_USER (the server's user), SANDBOX_PORT (of the cluster started last).

SANDBOX_REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SANDBOX=
PG_CONFIG=${PG_CONFIG:-pg_config}

sandbox_fail()
{
	printf 'sandbox: %s\n' "$*" >&2
	exit 1
}

# sandbox_create [PREFIX]: PREFIX is part of the directory's name.
sandbox_create()
{
	local bin lib share entry

	bin=$("$PG_CONFIG" --bindir) || sandbox_fail "$PG_CONFIG does not work; try make setup"
	lib=$("$PG_CONFIG" --pkglibdir)
	share=$("$PG_CONFIG" --sharedir)
	[[ -x $bin/initdb ]] || sandbox_fail "there is no server in $bin; try make setup"

	if [[ $(id -u) != 0 ]]; then
		SANDBOX_USER=$(id -un)
	elif id postgres >/dev/null 2>&1; then
		SANDBOX_USER=postgres
	else
		SANDBOX_USER=nobody
	fi

	# Short, because it leads to sockets, whose paths may have 107 bytes.
	SANDBOX=$(mktemp -d "${TMPDIR:-/tmp}/${1:-ba}.XXXXXX")
	trap sandbox_remove EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	chmod 755 "$SANDBOX"

	SANDBOX_ROOT=$SANDBOX/root
	SANDBOX_BIN=$SANDBOX_ROOT$bin
	mkdir -p "$SANDBOX_BIN" "$SANDBOX_ROOT$lib" "$SANDBOX_ROOT$share"
	# Programs must be copies, because they find their files by their own real
	# path; the rest may point to the originals.
	cp -L "$bin"/* "$SANDBOX_BIN/"
	for entry in "$lib"/*; do
		[[ $entry == */biometric_audit.so ]] || ln -s "$entry" "$SANDBOX_ROOT$lib/"
	done
	cp -rs "$share/." "$SANDBOX_ROOT$share/"
	rm -f "$SANDBOX_ROOT$share"/extension/biometric_audit*

	mkdir "$SANDBOX"/{home,run,tmp,keys,clusters,log}
	chmod 700 "$SANDBOX"/keys
	sandbox_own "$SANDBOX"/{home,run,tmp,keys,clusters,log}
}

# sandbox_own FILE ...: gives files to the server's user.
sandbox_own()
{
	if [[ $(id -u) == 0 ]]; then chown -R "$SANDBOX_USER" "$@"; fi
}

# sandbox_install: the build goes to a log, shown when it fails.
sandbox_install()
{
	local log=$SANDBOX/build.log

	if ! make -s -C "$SANDBOX_REPO" -j2 all >"$log" 2>&1 ||
		! make -s -C "$SANDBOX_REPO" install DESTDIR="$SANDBOX_ROOT" >>"$log" 2>&1; then
		cat "$log" >&2
		sandbox_fail "the extension could not be built"
	fi
}

# What suites may be told by whoever runs them; nothing else of the environment reaches them.
SANDBOX_PASSES=(PG_TEST_TIMEOUT_DEFAULT INDEPENDENT_SEED RESEAL_IMAGES TAMPER_TABLE WAYS_SEED
	WAYS_STEPS WAYS_WRITE)

# sandbox_exec COMMAND ...: becomes the command; to be run in a subshell.
sandbox_exec()
{
	local become=() passed=() name

	for name in "${SANDBOX_PASSES[@]}"; do
		[[ ! -v $name ]] || passed+=("$name=${!name}")
	done

	if [[ $(id -u) == 0 ]]; then
		become=(setpriv "--reuid=$SANDBOX_USER" "--regid=$(id -g "$SANDBOX_USER")"
			--init-groups --)
	fi
	cd "$SANDBOX/home" || exit
	exec "${become[@]}" env -i PATH="$SANDBOX_BIN:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" \
		HOME="$SANDBOX/home" TMPDIR="$SANDBOX/tmp" LANG=C.UTF-8 TERM="${TERM:-dumb}" \
		USER="$SANDBOX_USER" PGUSER=postgres PGHOST="$SANDBOX/run" \
		PGPORT="${SANDBOX_PORT:-}" PGCONNECT_TIMEOUT=10 PSQLRC=/dev/null \
		"${passed[@]}" "$@"
}

# sandbox_as COMMAND ...: variables for the command go before it, by env.
sandbox_as()
{
	(sandbox_exec "$@")
}

# sandbox_wait COMMAND ...: as sandbox_as, for what takes long: bash handles a
# signal only between commands, but interrupts a wait.
sandbox_wait()
{
	sandbox_exec "$@" &
	wait $!
}

# sandbox_free_port prints a port nobody listens on.
sandbox_free_port()
{
	local port

	while :; do
		port=$((20000 + RANDOM % 12000))
		(: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	echo "$port"
}

# sandbox_has_ipv6 tells whether this machine has ::1; containers often lack it.
sandbox_has_ipv6()
{
	grep -qsE '^0{31}1 ' /proc/net/if_inet6
}

# sandbox_key ID: a line of a keyring.
sandbox_key()
{
	echo "$1 $(openssl rand -hex 32)"
}

# sandbox_signing_key NAME: makes a key that signs checkpoints, and prints the
# SETTING for it.
sandbox_signing_key()
{
	local key=$SANDBOX/keys/$1.pem

	(umask 077 && openssl genpkey -algorithm ed25519 -out "$key")
	sandbox_own "$key"
	echo "biometric_audit.signing_key = '$key'"
}

# sandbox_cluster NAME [SETTING ...]: SETTINGs are lines of postgresql.conf.
# The superuser is postgres, every client is trusted: networks are told apart
# by biometric_audit, not by pg_hba.conf.
sandbox_cluster()
{
	local name=$1 data=$SANDBOX/clusters/$1 keyring=$SANDBOX/keys/$1.keyring addresses=127.0.0.1
	shift

	SANDBOX_PORT=$(sandbox_free_port)
	if sandbox_has_ipv6; then addresses+=',::1'; fi
	(umask 077 && sandbox_key 1 >"$keyring")
	sandbox_own "$keyring"

	sandbox_as initdb -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --data-checksums \
		>"$SANDBOX/log/$name.initdb" 2>&1 || {
		cat "$SANDBOX/log/$name.initdb" >&2
		sandbox_fail "initdb failed"
	}
	sandbox_as tee -a "$data/postgresql.conf" >/dev/null <<CONF
listen_addresses = '$addresses'
port = $SANDBOX_PORT
unix_socket_directories = '$SANDBOX/run'
shared_buffers = 64MB
shared_preload_libraries = 'biometric_audit'
biometric_audit.keyring = '$keyring'
$(printf '%s\n' "$@")
CONF
	echo "host all all 127.0.0.0/8 trust" | sandbox_as tee -a "$data/pg_hba.conf" >/dev/null
	sandbox_start "$name"
}

# sandbox_start NAME: starts a cluster that was made, on the port it had.
sandbox_start()
{
	local data=$SANDBOX/clusters/$1 log=$SANDBOX/log/$1.log

	sandbox_as pg_ctl start -w -t 180 -s -D "$data" -l "$log" </dev/null >"$log.start" 2>&1 || {
		cat "$log.start" "$log" >&2
		sandbox_fail "the server did not start"
	}
	SANDBOX_PORT=$(sed -n 4p "$data/postmaster.pid")
}

# sandbox_stop NAME [MODE]: MODE is fast, smart or immediate.
sandbox_stop()
{
	sandbox_as pg_ctl stop -w -t 180 -s -m "${2:-fast}" -D "$SANDBOX/clusters/$1"
}

# sandbox_set NAME SETTING: adds a line to the cluster's postgresql.conf, and
# returns when sessions that begin from now on have it.
sandbox_set()
{
	local name=$1 line=$2 setting try
	setting=${line%% *}

	echo "$line" | sandbox_as tee -a "$SANDBOX/clusters/$name/postgresql.conf" >/dev/null
	sandbox_as pg_ctl reload -s -D "$SANDBOX/clusters/$name"
	for try in {1..1200}; do
		[[ "$setting = $(sandbox_as psql -XAtq -d postgres -c "SHOW $setting")" != "$line" ]] || return 0
		sleep 0.05
	done
	sandbox_fail "the server has not loaded \"$line\" after $try attempts"
}

# sandbox_network ADDRESS: a relay in the background. Clients that connect to
# ADDRESS (127.x.y.z) on the cluster's port reach the server from ADDRESS;
# without it they would come from 127.0.0.1 whatever address they connect to.
sandbox_network()
{
	local try

	cp "$SANDBOX_REPO/test/lib/relay" "$SANDBOX/relay"
	sandbox_exec perl "$SANDBOX/relay" "$1" "$SANDBOX_PORT" </dev/null >>"$SANDBOX/log/relay" 2>&1 &
	for try in {1..1200}; do
		(: <"/dev/tcp/$1/$SANDBOX_PORT") 2>/dev/null && return
		sleep 0.05
	done
	cat "$SANDBOX/log/relay" >&2
	sandbox_fail "no relay on $1 after $try attempts"
}

# sandbox_processes prints the processes whose program lies in the sandbox.
sandbox_processes()
{
	local exe

	for exe in /proc/[0-9]*/exe; do
		if [[ $(readlink "$exe" 2>/dev/null) == "$SANDBOX"/* ]]; then
			exe=${exe#/proc/}
			echo "${exe%/exe}"
		fi
	done
}

# sandbox_remove: the end. Ends our processes and deletes everything. With
# SANDBOX_KEEP set the directory stays, for a look at logs and data.
sandbox_remove()
{
	local status=$? data pids

	trap - EXIT
	trap '' INT TERM HUP
	[[ $SANDBOX ]] || exit "$status"
	pids=$(jobs -p)
	# shellcheck disable=SC2086
	[[ ! $pids ]] || kill $pids 2>/dev/null || :
	for data in "$SANDBOX"/clusters/*/; do
		[[ ! -e ${data}postmaster.pid ]] ||
			sandbox_as pg_ctl stop -s -m immediate -D "$data" >/dev/null 2>&1 || :
	done
	# Clusters that tests made and left behind when they were interrupted.
	pids=$(sandbox_processes)
	# shellcheck disable=SC2086
	[[ ! $pids ]] || kill -KILL $pids 2>/dev/null || :
	if [[ ${SANDBOX_KEEP:-} ]]; then
		echo "sandbox: kept $SANDBOX" >&2
	else
		rm -rf "$SANDBOX" || :
	fi
	exit "$status"
}

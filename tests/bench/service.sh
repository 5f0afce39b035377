#!/bin/bash
# The service under a real systemd, which runs in namespaces over a throw-away copy of this machine's disk.
# As root, with systemd installed and tta in a folder that every user can read:
#   python3 -m venv /opt/tta && /opt/tta/bin/pip install '.[camera]' && tests/bench/service.sh /opt/tta
# It prints each command of docs/leave_it_running.md with its output; the watchdog has 4 s instead of 60.
set -euo pipefail
tta=${1:?folder of the environment that has tta}
if [ "${2:-}" = "" ]; then
  shared=$(mktemp -d)
  chmod 755 "$shared"
  trap 'rm -rf "$shared"' EXIT
  timeout -s KILL 300 unshare --mount --pid --fork --kill-child --cgroup --uts --ipc \
    bash "$0" "$tta" inside "$shared" > "$shared/console" 2>&1 < /dev/null || true
  cat "$shared/out" || cat "$shared/console"
  exit 0
fi

shared=$3
mount --make-rprivate /
layers=$(mktemp -d)
mount -t tmpfs tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$layers/disk"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$layers/disk"
cd "$layers/disk"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount --rbind /dev dev
mkdir -p "./$shared" old
mount --bind "$shared" "./$shared"
pivot_root . old
umount -l /old

cat > /etc/systemd/system/check.service <<UNIT
[Unit]
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/bash $shared/drive
UNIT
mkdir -p /etc/systemd/system/tta.service.d
printf '[Service]\nWatchdogSec=4\nRestartSec=1\n' > /etc/systemd/system/tta.service.d/quick.conf
cat > "$shared/drive" <<DRIVE
exec > $shared/out 2>&1
PATH=$tta/bin:\$PATH
said() { echo; echo "\$ \$*"; "\$@"; }
journal() { journalctl -u tta --no-pager -o cat -n \$1 | cut -c1-180; }
cd /
systemctl start systemd-journald
said mkdir -p /etc/tta
said cp -r $tta/lib/python3*/site-packages/tta/demo/fashion.tta /etc/tta/mine.tta
said sh -c 'tta config example > /etc/tta/tta.toml'
cat > /etc/tta/tta.toml <<'TOML'
bundle = "mine.tta"
source = "sim://fashion?corruption=contrast&severity=2&frames=9999999"
sink = "jsonl:/var/lib/tta/out.jsonl"
state-dir = "/var/lib/tta/states"
log = "/var/lib/tta/audit.db"
governor = "always"
adapt = "worker"
durable-s = 1
limit = 9999999
TOML
said tta config check /etc/tta/tta.toml
said tta service install
said systemctl enable tta
said systemctl start tta
sleep 5
said tta service status
main=\$(systemctl show -p MainPID --value tta)
said grep -E '^(Uid|CapEff|NoNewPrivs|Seccomp):' /proc/\$main/status
said sed -i 's/durable-s = 1/durable-s = 7/' /etc/tta/tta.toml
said systemctl reload tta
sleep 1
said journal 1
echo; echo '# power cut, as far as a process can have one'
said kill -KILL \$main
sleep 4
said tta service status
echo; echo '# the loop hangs'
said kill -STOP \$(systemctl show -p MainPID --value tta)
sleep 9
said tta service status
said systemctl stop tta
said systemctl show tta -p Result -p ExecMainStatus
said journal 2
said tta state list /var/lib/tta/states
said tta log /var/lib/tta/audit.db --summary
echo; echo '# an earlier state, then the source'
said tta state restore /etc/tta/mine.tta /var/lib/tta/states 5
said systemctl start tta
sleep 4
said sed -i 's/^governor.*/governor = "frozen"/' /etc/tta/tta.toml
said systemctl reload tta
sleep 2
said tta service status
said journal 1
said systemctl stop tta
said tta state list /var/lib/tta/states
said tta state reset /etc/tta/mine.tta /var/lib/tta/states
said systemctl start tta
sleep 4
said tta service status
said systemctl stop tta
echo; echo '# a camera that is away, at the start and for longer than the watchdog waits'
said sed -i 's#^source.*#source = "http://127.0.0.1:9/cam?insist=true"#' /etc/tta/tta.toml
said tta service install
said systemctl start tta
sleep 10
said tta service status
said systemctl stop tta
said systemctl show tta -p Result -p ExecMainStatus
said journal 2
said tta service uninstall
said ls /var/lib/tta/
systemctl --no-ask-password exit 0
DRIVE
exec env container=docker /lib/systemd/systemd --system --unit=check.service --log-target=console

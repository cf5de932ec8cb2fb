"""A real one-node Slurm for tests: munged, slurmctld and slurmd on loopback, in a temporary folder, ended by pid.

Debian: `apt-get install -y --no-install-recommends slurm-wlm munge`. Nothing of an installed configuration is used;
every daemon runs as the user of the tests.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
PATIENCE = 60.0

CONFIGURATION = """
ClusterName=fgnet
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=1,defer,requeue_delay=1,batch_sched_delay=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MinJobAge=3600
MaxArraySize=101
MailProg=/bin/true
DefMemPerCPU=1500
EnforcePartLimits=ALL
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=12000 State=UNKNOWN
PartitionName=work Nodes={host} Default=YES MaxTime=60 DefaultTime=10 State=UP
PartitionName=closed Nodes={host} MaxTime=60 AllowAccounts=lab State=UP
"""


def missing_programs() -> list[str]:
    """What of Slurm is not installed."""
    return [name for name in PROGRAMS if program(name) is None]


def program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class Cluster:
    """Start with `start`; `SLURM_CONF` of the calling process is set to it until `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = socket.gethostname().split(".")[0]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        ports = _free_ports(2)
        text = CONFIGURATION.format(
            host=self.host, controller=ports[0], node=ports[1], user=getpass.getuser(), folder=folder
        )
        (folder / "slurm.conf").write_text(text)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        self._former = os.environ.get("SLURM_CONF")

    def start(self) -> None:
        os.environ["SLURM_CONF"] = str(self.folder / "slurm.conf")
        key = self.folder / "munge.key"
        subprocess.run([str(program("mungekey")), "-c", "-k", str(key)], check=True)
        names = ("socket", "pid", "log", "seed")
        files = {n: self.folder / f"munge.{n}" for n in names}
        self._spawn(
            "munged", "-F", "--force", f"--key-file={key}", f"--socket={files['socket']}", f"--pid-file={files['pid']}",
            f"--log-file={files['log']}", f"--seed-file={files['seed']}", "--num-threads=2",
        )  # fmt: skip
        _wait(files["socket"].exists, "munged")
        self.start_controller()
        self._spawn("slurmd", "-N", self.host, "-D")
        _wait(lambda: "idle" in self.command("sinfo", "-h", "-o", "%T"), "slurmd")

    def start_controller(self) -> None:
        self._spawn("slurmctld", "-D")
        _wait(lambda: "UP" in self.command("scontrol", "ping"), "slurmctld")
        if "slurmd" in self._daemons:
            self._daemons["slurmd"].send_signal(signal.SIGHUP)  # registers at once, not at the next ping

    def kill_controller(self) -> None:
        """SIGKILL, as a machine that loses power, once what happened so far is saved, which takes seconds.

        A controller that dies before forgets jobs, gives their ids away again and drains nodes that still run them:
        what an administrator has to clear up, and not this project.
        """
        saved = self.folder / "state" / "job_state"
        for _ in range(2):  # one save may have begun before
            before = saved.stat().st_mtime_ns if saved.exists() else 0
            job = self.command("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap=true").strip()
            _wait(lambda before=before: saved.exists() and saved.stat().st_mtime_ns > before, "the state to be saved")
            self.command("scancel", job)
        self._daemons["slurmctld"].kill()
        self._daemons["slurmctld"].wait()

    def command(self, *arguments: str) -> str:
        """Standard output of a Slurm command, whatever its exit code."""
        return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False).stdout

    def wait_for_state(self, job: str, *states: str) -> None:
        """Until `job` (or an element `12_3`) is in one of `states`."""
        _wait(lambda: self.state(job) in states, f"{job} to be {states}")

    def state(self, job: str) -> str:
        lines = self.command("squeue", "-h", "-r", "--states=all", f"--jobs={job}", "-o", "%T").split()
        return lines[0] if lines else ""

    def stop(self) -> None:
        """Cancel what is left and end the daemons."""
        if "slurmctld" in self._daemons and self._daemons["slurmctld"].poll() is None:
            self.command("scancel", "--full", f"--user={getpass.getuser()}")
            _wait(lambda: not self.command("squeue", "-h"), "jobs to end", patience=20, fatal=False)
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if self._former is None:
            os.environ.pop("SLURM_CONF", None)
        else:
            os.environ["SLURM_CONF"] = self._former

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as out:
            self._daemons[name] = subprocess.Popen([str(program(name)), *arguments], stdout=out, stderr=out)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _wait(condition, what: str, patience: float = PATIENCE, fatal: bool = True) -> None:
    give_up = time.monotonic() + patience
    while not condition():
        if time.monotonic() > give_up:
            if fatal:
                raise AssertionError(f"waited {patience:.0f} s for {what}")
            return
        time.sleep(0.1)

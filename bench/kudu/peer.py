"""Apache Kudu as a peer of bench/cluster: a master and three tablet servers, fetched by Maven."""

import os
import pathlib
import shutil
import subprocess
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = "kudu-binary-1.18.0-linux-x86_64"
BATCH_ROWS = 5_000
BUCKETS = 3
# The system's own are newer, and do not go together with those of the archive.
KERBEROS = ["libkrb5.so.3", "libk5crypto.so.3", "libgssapi_krb5.so.2", "libkrb5support.so.0"]
# Acknowledged only when synced; a clock that nobody disciplines will do on one machine.
FLAGS = ["--unlock_experimental_flags", "--unlock_unsafe_flags", "--time_source=system_unsync", "--webserver_enabled=false"]
SYNC = ["--log_force_fsync_all=true"]


def fetched(folder):
    """The folder with Kudu, fetched once; None where it cannot be had."""
    at = folder / "peers" / "kudu-1.18.0"
    if at.exists():
        return at
    if shutil.which("mvn") is None or shutil.which("java") is None:
        return None
    half = at.with_suffix(".part")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    copy = "org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies"
    done = subprocess.run(["mvn", "-q", "-B", "-f", HERE / "pom.xml", copy, f"-DoutputDirectory={half}"])
    if done.returncode != 0:
        return None
    with zipfile.ZipFile(half / f"{FOLDER}.jar") as archive:
        archive.extractall(half)
    (half / f"{FOLDER}.jar").unlink()
    for program in (half / FOLDER / "bin").iterdir():
        program.chmod(0o755)
    for library in KERBEROS:
        (half / FOLDER / "lib" / library).unlink(missing_ok=True)
    half.rename(at)
    return at


class Kudu:
    """Its processes, in a folder of their own."""

    def __init__(self, at, folder, free_port, sync):
        self.at, self.folder, self.processes = at, folder, []
        self.flags = FLAGS + (SYNC if sync else [])
        self.master = f"127.0.0.1:{free_port()}"
        self.start("master", self.master, [])
        for number in range(3):
            self.start(f"tserver{number}", f"127.0.0.1:{free_port()}", [f"--tserver_master_addrs={self.master}"])

    def start(self, name, address, flags):
        home = self.folder / name
        home.mkdir(parents=True)
        program = self.at / FOLDER / "bin" / "kudu"
        command = [program, name.rstrip("0123456789"), "run", f"--fs_wal_dir={home}/wal", f"--fs_data_dirs={home}/data"]
        command += [f"--rpc_bind_addresses={address}", f"--log_dir={home}", *self.flags, *flags]
        log = (self.folder / f"{name}.log").open("ab")
        around = {**os.environ, "SASL_PATH": str(self.at / FOLDER / "lib" / "sasl2")}
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=around))

    def load(self, csv, clients):
        """Rows a second."""
        command = ["java", "-cp", f"{self.at}/*", HERE / "Load.java"]
        deadline = time.monotonic() + 60
        while True:
            # Its tablet servers take a while to be known to the master.
            done = subprocess.run(
                [*command, self.master, csv, *map(str, (clients, BATCH_ROWS, BUCKETS))], capture_output=True, text=True
            )
            if done.returncode == 0:
                return float(done.stdout.split()[-1])
            assert "not enough live tablet servers" in done.stderr and time.monotonic() < deadline, done.stderr
            time.sleep(1)

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()

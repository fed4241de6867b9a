"""A disk for each node: a small file system of its own, which can run full and lose its power, where root and loop devices
are to be had; else a folder."""

import fcntl
import os
import shutil
import struct
import subprocess

SHUTDOWN = 0x8004587D
WITHOUT_ITS_JOURNAL = 2


class Folder:
    """A disk that nothing befalls."""

    def __init__(self, folder):
        self.path = folder / "disk"
        self.path.mkdir()

    def close(self):
        pass

    def clear(self):
        pass


class Image:
    """An ext4 file system in a file. What was not synced when its power goes is lost."""

    def __init__(self, folder, size_mib):
        self.path, self.image = folder / "disk", folder / "disk.img"
        self.filler = self.path / "filler"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(size_mib << 20)
        command("mkfs.ext4", "-q", "-m", "0", str(self.image))
        self.mount()

    def mount(self):
        command("mount", "-o", "loop", str(self.image), str(self.path))

    def fill(self):
        """No byte is free."""
        with self.filler.open("wb") as file:
            while free_bytes := free_of(self.path):
                try:
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free_bytes)
                except OSError:
                    break

    def free(self):
        self.filler.unlink(missing_ok=True)
        # Or it would be back after the next power cut.
        at = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(at)
        finally:
            os.close(at)

    def cut_power(self):
        at = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(at, SHUTDOWN, struct.pack("I", WITHOUT_ITS_JOURNAL))
        finally:
            os.close(at)

    def power_again(self):
        """Nothing may be open on it."""
        command("umount", str(self.path))
        self.mount()

    def close(self):
        subprocess.run(["umount", "-l", str(self.path)], check=False, capture_output=True)

    def clear(self):
        """Once it is closed: nobody wants to look into it."""
        self.image.unlink(missing_ok=True)


def free_of(path):
    seen = os.statvfs(path)
    return seen.f_bavail * seen.f_frsize


def command(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{arguments[0]}: {done.stderr.strip()}")


def why_no_images(folder):
    """Why images cannot be mounted here; None where they can."""
    if os.geteuid() != 0:
        return "only root mounts file systems"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is None:
            return f"{program} is missing"
    trial = folder / "trial"
    trial.mkdir()
    try:
        image = Image(trial, 32)
        try:
            image.cut_power()
            image.power_again()
        finally:
            image.close()
            image.clear()
    except OSError as error:
        return str(error)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return None

"""What an image has below its mounts: what init has to copy, and what is refused."""

import pytest

from imagebuilder.errors import InputError
from imagebuilder.platforms.linux.covered import copied, mount_points
from imagebuilder.platforms.linux.layer import defaults, hosts
from imagebuilder.platforms.values import Mount, Surroundings
from imagebuilder.tree import Tree, directory, file, symlink

SYSTEM = defaults((), Surroundings(debian=True))
RUN = Mount("tmpfs", "/run", "mode=0755")


@pytest.mark.parametrize(
    ("paths", "mounts", "found"),
    [
        ((), (RUN, Mount("tmpfs", "/tmp")), ()),
        (("/run/app/app.conf",), (RUN,), ("/run",)),
        (("/run/app/app.conf",), (), ()),
        (("/dev/log",), (), ("/dev",)),
        (("/run/lock/x",), (RUN,), ("/run",)),
        (("/runner/x",), (RUN,), ()),
        (("/run/a/b", "/run/c"), (RUN, Mount("tmpfs", "/run/a")), ("/run",)),
        (("/run/a/b",), (RUN, Mount("tmpfs", "/run/a")), ("/run/a",)),
        (("/run/a/b",), (Mount("tmpfs", "/var/run"),), ("/run",)),  # a link to /run
        (("/etc/x",), (Mount("overlay", "/etc", "lowerdir=/etc,upperdir=/run/u,workdir=/run/w"),), ()),
        (("/sys/x",), (), ()),
        (("/run/x",), (Mount("tmpfs", "/run", "size=8k"),), ("/run",)),
        (("/run/x",), (Mount("tmpfs", "/run", "size=0"),), ("/run",)),  # no limit
        (("/run/x",), (Mount("tmpfs", "/run", "size=1%"),), ("/run",)),
    ],
)
def test_what_init_copies(paths: tuple[str, ...], mounts: tuple[Mount, ...], found: tuple[str, ...]) -> None:
    image = SYSTEM.merge(Tree({path: file(b"x" * 5000) for path in paths}))
    assert copied(image, mounts, SYSTEM) == found


@pytest.mark.parametrize(
    ("paths", "mounts", "sentence"),
    [
        (("/proc/x",), (), "/proc/x would be in the image and never be found: proc is mounted on /proc"),
        (("/sys/a/b",), (Mount("sysfs", "/sys"),), '"sysfs /sys" would hide /sys/a and 1 more of the image'),
        (("/data/x",), (Mount("ext4", "/data", "source=/dev/vda"),),
         '"ext4 /data source=/dev/vda" would hide /data/x of the image'),
        (("/run/x",), (Mount("tmpfs", "/run", "ro"),), '"tmpfs /run ro" would hide /run/x'),
        (("/run/x",), (Mount("tmpfs", "/run", "bind,source=/srv"),), "would hide /run/x"),
        (("/run/x", "/run/y"), (Mount("tmpfs", "/run", "mode=0755,size=12k"),),
         "too small for /run/x and 1 more, which init copies onto it: 16384 bytes"),
        (("/run/a/b",), (Mount("ext4", "/run/a", "source=/dev/vda"), RUN), '"tmpfs /run mode=0755" hides "ext4 /run/a'),
        ((), (RUN, RUN), "hides"),
        (("/dev",), (), "devtmpfs, which every image has on /dev, has no folder to be mounted on: /dev is a file"),
        (("/srv/x",), (Mount("tmpfs", "/srv/x"),), "has no folder to be mounted on: /srv/x is a file"),
    ],
)  # fmt: skip
def test_what_nobody_would_find_is_refused(paths: tuple[str, ...], mounts: tuple[Mount, ...], sentence: str) -> None:
    given = {path: file(b"x" * 5000) for path in paths}
    image = Tree({**{path: node for path, node in SYSTEM.items() if not path.startswith("/dev/")}, **given})
    with pytest.raises(InputError) as caught:
        copied(image, mounts, SYSTEM)
    assert sentence in str(caught.value)
    assert caught.value.hint


def test_each_mount_has_its_folder() -> None:
    mounts = (RUN, Mount("tmpfs", "/srv/cache"), Mount("tmpfs", "/dev/shm"), Mount("tmpfs", "/dev"))
    assert set(mount_points(mounts)) == {"/", "/run", "/srv", "/srv/cache"}


def test_what_a_root_that_cannot_be_written_has_for_temporary_files() -> None:
    image = defaults((), Surroundings(read_only=True))
    assert image["/tmp"] == symlink("/dev/shm") and image["/var/tmp"] == symlink("/tmp")
    assert image.resolve("/var/tmp") == "/dev/shm", "init makes it, and it is always written"
    mounted = defaults((), Surroundings(read_only=True, mounted=("/tmp",)))
    assert mounted["/tmp"] == directory(mode=0o1777)
    assert defaults((), Surroundings())["/tmp"] == directory(mode=0o1777)


def test_the_host_finds_its_own_name() -> None:
    assert hosts("web") == b"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 web\n"
    assert hosts("localhost") == b"127.0.0.1 localhost\n::1 localhost\n"

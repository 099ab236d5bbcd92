"""Commands of maintainer scripts of which nothing is missing in an image: they ask, talk, or serve a running system; or
what they make is made elsewhere (PHP's extensions: ``closure/php.py``)."""

# Ask and talk, or work on the package database, on services, on menus and on the documentation of an installed system.
_COMMANDS = """
aa-enabled aa-status add-shell apparmor_parser appstreamcli awk basename bash cat chattr chfn cmp comm cut date
deb-systemd-helper deb-systemd-invoke debconf-escape debconf-show delgroup deluser diff dirname dpkg dpkg-divert
dpkg-maintscript-helper dpkg-query dpkg-trigger echo egrep env expr fc-cache fgrep find fold getcap getent gpasswd
grep groupmod gsettings gtk-update-icon-cache head helpztags hostname id initctl install-docs install-info invoke-rc.d
ischroot journalctl kill ldconfig locale logger logname ls mandb md5sum mktemp mountpoint
php_invoke pidof pkill printf ps pwck
py3clean py3compile py3versions pyclean pycompile pypy3compile read readlink realpath remove-shell restorecon rm rmdir
runit-helper selinuxenabled seq service setsebool sh sha256sum sleep sort start-stop-daemon stat stop su sync
systemctl systemd-detect-virt tail tee telinit test tr true tty ucfq ucfr udevadm uname uniq update-binfmts
update-desktop-database update-icon-caches update-initramfs update-locale update-menus update-mime update-rc.d
update-shells upstart wc which xargs yes zgrep
"""
COMMANDS = frozenset(_COMMANDS.split())
# Talk with debconf, and functions of the libraries of scripts that print.
PREFIXES = ("db_", "log_", "_dh_", "warn", "error", "info", "debug", "setup_colors", "apache2_")
# What a running system leaves below these folders is of no interest.
FOLDERS = (
    *("/dev/", "/proc/", "/sys/", "/tmp/", "/run/", "/var/run/", "/var/lib/dpkg/", "/var/cache/", "/var/log/"),
    "/etc/apparmor.d/",
)
# Packages whose scripts are not followed: we read them. They set up a system as a whole (its /etc/passwd, /etc/hosts,
# /bin/sh), of which an image has its own or which is done elsewhere here, or do nothing at a first installation.
_PACKAGES = """
base-files base-passwd ca-certificates dash debconf dpkg libc-bin libc6 libpam0g login netbase passwd systemd tzdata
usrmerge
"""
PACKAGES = frozenset(_PACKAGES.split())

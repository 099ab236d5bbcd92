"""What programs open by themselves while they run, and no header of theirs names: interpreters above all. A row each.

A row counts as soon as one of its programs is kept, for whatever reason. Its needs are globs over the tree, each with
the reason that ``inspect`` shows. ``needs`` does what they say, and gives the recipe's own words the precedence.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from imagebuilder.arch import TARGET
from imagebuilder.closure import busybox, php
from imagebuilder.recipe.values import Runtime
from imagebuilder.tree import Node, Tree

LIB = f"/usr/lib/{TARGET.multiarch}"
LOCALE = ("LANG", "LC_ALL", "LC_CTYPE")  # locale(7)


@dataclass(frozen=True, slots=True)
class Need:
    """``globs`` of what is kept, without what ``but`` matches, and ``why``: a clause. ``<name>`` stands for a group of
    the row's pattern. It counts only where the environment has one of the ``variables`` or the recipe names one of the
    ``packages``, if any are given. ``links`` gives links that are to be in the image, from the tree and the program."""

    name: str
    globs: tuple[str, ...]
    why: str
    but: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    links: Callable[[Tree, str], Mapping[str, Node]] | None = None

    def counts(self, variables: Mapping[str, str], packages: Sequence[str]) -> bool:
        """Whether it is asked for."""
        asked = any(variables.get(name) for name in self.variables) or any(name in packages for name in self.packages)
        return asked or not self.is_asked

    @property
    def is_asked(self) -> bool:
        """Whether it counts for those alone who ask for it."""
        return bool(self.variables or self.packages)


@dataclass(frozen=True, slots=True)
class Row:
    """``programs`` matches the real path of what shows that the language is there: interpreter, or library of it."""

    programs: re.Pattern[str]
    needs: tuple[Need, ...]


AUTHORITIES = ("/etc/ssl/certs/**", "/usr/lib/ssl/{certs,cert.pem,openssl.cnf}")
NOT_AUTHORITIES = ("/etc/ssl/certs/java/**",)


def _authorities(who: str) -> Need:
    why = f"{who} trusts these certificate authorities, by OpenSSL's names and as one file"
    return Need("authorities", AUTHORITIES, why, NOT_AUTHORITIES)


def _locale(who: str) -> Need:
    why = f"{who} takes the encoding of texts from the locale that the environment names"
    return Need("locale", ("/usr/lib/locale/**",), why, variables=LOCALE)


ROWS: Mapping[Runtime, Row] = {
    Runtime.PYTHON: Row(
        re.compile(
            r"(?P<prefix>(/usr|/usr/local|/opt/[^/]+))/(bin/(?P<python>python3\.\d+)|lib/(?P<name>[^/]+/)?"
            r"lib(?P<library>python3\.\d+)\.so.*)"
        ),
        (
            Need(
                "library",
                ("<prefix>/lib/<python><library>/**",),
                "the standard library with its encodings: any of it may be imported",
                but=(
                    # What needs a screen or a terminal's windows, what builds packages and programs, tests.
                    "/**/python3.*/{ensurepip,idlelib,lib2to3,pydoc_data,test,tkinter,turtledemo}/**",
                    "/**/python3.*/{config-3.*,*/tests}/**",
                    "/**/python3.*/turtle.py",
                    "/**/python3.*/lib-dynload/{_ctypes_test,_test,_tkinter,_xx,xx}*",
                ),
            ),
            Need(
                "modules",
                ("/usr/lib/python3/dist-packages/**",),
                "modules of the packages that the recipe names, and of those that they need",
                but=("/**/dist-packages/**/{tests,testing/tests}/**",),
            ),
            Need(
                "threads",
                (f"{LIB}/libgcc_s.so.1",),
                "glibc loads it to end a thread, which Python does with those that still run at its end",
            ),
            _authorities("Python"),
        ),
    ),
    Runtime.NODE: Row(
        re.compile(rf"(?P<prefix>/usr|/usr/local|/opt/[^/]+)/bin/node(js)?|{LIB}/libnode\.so.*"),
        (
            Need(
                "modules",
                ("/usr/share/nodejs/**", "/usr/lib/nodejs/**", f"{LIB}/nodejs/**"),
                "Debian's node reads built-in modules from there, and modules of packages stand there too",
                but=(
                    "/**/nodejs/**/*.{d.ts,d.mts,d.cts,map,md,markdown}",
                    "/usr/share/nodejs/{npm,corepack,node-gyp}/**",
                ),
            ),
            _authorities("Node"),
        ),
    ),
    Runtime.JAVA: Row(
        re.compile(r"(?P<home>/usr/lib/jvm/java-(?P<version>\d+)-openjdk-[^/]+)/bin/java"),
        (
            Need(
                "runtime",
                ("<home>/{conf,lib,legal}/**", "<home>/release"),
                "libjvm, its other libraries, the modules of the class library and their settings",
                but=(
                    # What draws, plays sound or prints, and needs libraries and fonts for that; sources; debuggers.
                    "<home>/lib/{libawt*,libfontmanager,libfreetype,libjavajpeg,libjsound,liblcms,libmlib_image}.so",
                    "<home>/lib/{libsplashscreen,libjawt,libsaproc,libjdwp,libdt_socket}.so",
                    "<home>/lib/{src.zip,ct.sym,psfont*,fontconfig*}",
                    "<home>/legal/**",
                ),
            ),
            Need(
                "configuration",
                ("/etc/java-<version>-openjdk/**",),
                "the settings of security and networking, to which links of the runtime lead",
            ),
            Need(
                "authorities",
                ("/etc/ssl/certs/java/cacerts",),
                "the certificate authorities that Java trusts, in its own format",
            ),
        ),
    ),
    Runtime.PHP: Row(
        re.compile(r"/usr/(s?bin/php(-fpm|-cgi)?(?P<cli>\d\.\d)|lib/libphp(?P<embedded>\d\.\d)\.so)"),
        (
            Need(
                "extensions",
                ("/usr/lib/php/20*/**",),
                "extensions that the configuration loads by name",
            ),
            Need(
                "configuration",
                ("/etc/php/<cli><embedded>/**", "/usr/lib/php/<cli><embedded>/php.ini-*"),
                "which extensions are loaded, and settings",
                links=php.enabled,
            ),
            Need(
                "modules",
                ("/usr/share/php/**",),
                "modules of the packages that the recipe names",
                but=("/**/tests/**",),
            ),
            Need(
                "encodings",
                (f"{LIB}/gconv/gconv-modules*", f"{LIB}/gconv/{{UTF-*,UNICODE,ISO8859-1,ISO8859-15,CP1252}}.so"),
                "iconv() of glibc knows but ASCII and UTF-8 by itself",
            ),
            _authorities("PHP"),
            _locale("PHP"),
        ),
    ),
    Runtime.PERL: Row(
        re.compile(rf"/usr/bin/perl(5[\d.]+)?|{LIB}/libperl\.so.*"),
        (
            Need(
                "library",
                (f"{LIB}/perl-base/**", f"{LIB}/perl/**", "/usr/share/perl/**", "/etc/perl/**"),
                "the standard library with its encodings and tables of characters: any of it may be used",
                but=("/**/*.{pod,h,ph,a}", "/usr/share/perl/**/{CPAN,Test,Pod/Perldoc}/**"),
            ),
            Need(
                "modules",
                ("/usr/share/perl5/**", f"{LIB}/perl5/**"),
                "modules of the packages that the recipe names, and of those that they need",
                but=("/**/*.pod", "/usr/share/perl5/{Debconf,Debian,Dpkg}/**"),
            ),
            _authorities("Perl"),
            _locale("Perl"),
        ),
    ),
    Runtime.RUBY: Row(
        re.compile(rf"/usr/bin/ruby\d\.\d|{LIB}/libruby-\d\.\d\.so.*"),
        (
            Need(
                "library",
                ("/usr/lib/ruby/**", f"{LIB}/ruby/**"),
                "the standard library with its encodings, and modules of packages: any of it may be required",
                but=("/**/ruby/**/{rdoc,test,spec}/**", f"{LIB}/ruby/**/*.{{h,a}}"),
            ),
            Need(
                "gems",
                ("/usr/share/rubygems-integration/**", f"{LIB}/rubygems-integration/**", "/var/lib/gems/**"),
                "what gems say of themselves, by which they are found",
                but=("/**/rubygems-integration/*/{doc,cache}/**", "/**/gems/*/{test,spec,doc}/**"),
            ),
            _authorities("Ruby"),
            _locale("Ruby"),
        ),
    ),
    Runtime.BUSYBOX: Row(
        re.compile(r"(/usr)?/bin/busybox"),
        (
            Need(
                "applets",
                (),
                "programs that scripts call by their names alone",
                links=busybox.applets,
            ),
        ),
    ),
    Runtime.CERTIFICATES: Row(
        re.compile(r"/.*"),
        (
            Need(
                "authorities",
                AUTHORITIES,
                "the recipe names the package of certificate authorities",
                but=NOT_AUTHORITIES,
                packages=("ca-certificates",),
            ),
        ),
    ),
    Runtime.TIME_ZONES: Row(
        re.compile(r"/.*"),
        (
            Need(
                "zones",
                ("/usr/share/zoneinfo/**", "/etc/localtime"),
                "the environment names a time zone, or the recipe the package of them",
                but=("/usr/share/zoneinfo/{posix,right}/**",),
                variables=("TZ",),
                packages=("tzdata",),
            ),
        ),
    ),
}
VARIABLES = frozenset(name for row in ROWS.values() for need in row.needs for name in need.variables)
"""All that needs depend on of the application's environment."""

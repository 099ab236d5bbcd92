"""PHP's extensions as Debian enables them when they are installed: a link for each and each way to run PHP."""

import re
from collections.abc import Mapping

from imagebuilder.tree import Kind, Node, Tree, symlink

PROGRAM = re.compile(r"/usr/s?bin/php(-(?P<way>fpm|cgi))?(?P<version>\d\.\d)")
MODULE = re.compile(r"/etc/php/\d\.\d/mods-available/(?P<name>[\w-]+)\.ini")
PRIORITY = re.compile(rb"^;\s*priority\s*=\s*(\d{1,3})\s*$", re.MULTILINE)
USUAL = 20  # php-maintscript-helper's, where the file says no other
LARGEST_BYTES = 1 << 16


def enabled(tree: Tree, program: str) -> Mapping[str, Node]:
    """The links that ``phpenmod`` makes, of all that is available, for a program of PHP."""
    match = PROGRAM.fullmatch(program)
    if match is None:
        return {}
    folder = f"/etc/php/{match['version']}"
    modules = [found for found in map(MODULE.fullmatch, tree) if found and found[0].startswith(f"{folder}/")]
    target = f"{folder}/{match['way'] or 'cli'}/conf.d"
    return {f"{target}/{_priority(tree[each[0]])}-{each['name']}.ini": symlink(each[0]) for each in modules}


def _priority(node: Node) -> int:
    readable = node.kind is Kind.FILE and node.size_bytes <= LARGEST_BYTES
    found = PRIORITY.search(node.content.read()) if readable else None
    return int(found[1]) if found else USUAL

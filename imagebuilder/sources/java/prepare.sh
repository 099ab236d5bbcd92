#!/bin/sh
# Makes what an application in Java needs, in a machine that prepares: a jar of its SOURCES, the runtime of the modules
# that its JARS need, and with CLASS_DATA an archive of the classes that a start loads, by starting it once: the words
# behind this script are the virtual machine's. Lists are lines; all else is said in imagebuilder/sources/java.
set -eu
IFS='
'
jdk=/usr/lib/jvm/default-java
runtime=/opt/java
list=/tmp/classes.list

say() { echo "java: $1"; }

state() { sed -n 's/^State:.\(.\).*/\1/p' "/proc/$1/status" 2> /dev/null || true; }

# Until it has ended, listens on TCP, or has had five minutes of this machine's.
await() {
    waited=0
    while case $(state "$1") in '' | Z | X) false ;; esac &&
        ! cat /proc/net/tcp* | grep -q '^ *[0-9]*: [0-9A-F]*:[0-9A-F]* [0-9A-F]*:[0-9A-F]* 0A ' &&
        [ $waited -lt 300 ]; do
        sleep 1
        waited=$((waited + 1))
    done
}

# One processor, and programs that run once.
export JAVA_TOOL_OPTIONS='-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto'
if [ -n "$SOURCES" ]; then
    say compile
    mkdir /tmp/classes
    "$jdk/bin/javac" -proc:none -d /tmp/classes $SOURCES
    mkdir -p "${JARS%/*}"
    "$jdk/bin/jar" --create --file "$JARS" --main-class "$MAIN" -C /tmp/classes .
fi
say 'the modules that it needs'
named=$("$jdk/bin/jdeps" --print-module-deps --ignore-missing-deps --multi-release "$FEATURE" $JARS | tail -n 1)
say "make a runtime of $named${MODULES:+,$MODULES}"
"$jdk/bin/jlink" --add-modules "$named${MODULES:+,$MODULES}" --strip-java-debug-attributes --no-header-files \
    --no-man-pages --compress=2 --output "$runtime"
unset JAVA_TOOL_OPTIONS
# What draws, prints and plays needs libraries and fonts that no server has.
for name in awt awt_headless awt_xawt fontmanager freetype javajpeg jsound lcms mlib_image splashscreen jawt; do
    rm -f "$runtime/lib/lib$name.so"
done
# The archive of classes knows these files by their times, which are the image's own.
touch -d "@$SOURCE_DATE_EPOCH" "$runtime/lib/modules" $JARS
[ -n "$CLASS_DATA" ] || exit 0

say 'start it once'
"$runtime/bin/java" -XX:DumpLoadedClassList=$list "$@" &
started=$!
await $started
case $(state $started) in
'' | Z | X) asked= ;;
*) asked=$URL ;;
esac
[ -z "$asked" ] || wget -q -O /dev/null "$asked" || say "no answer at $asked"
kill $started 2> /dev/null || true
status=0
wait $started || status=$?
if [ $status -ne 0 ] && [ $status -ne 143 ]; then
    say "started once, it ended with status $status"
    exit 1
fi
say 'an archive of its classes'
# G1 alone writes objects too, which all collectors read.
"$runtime/bin/java" -XX:+UseG1GC -Xshare:dump -XX:SharedClassListFile=$list -XX:SharedArchiveFile="$CLASS_DATA" \
    -Xlog:cds=error -Xlog:cds+dynamic=error -cp "$CLASS_PATH" > /dev/null

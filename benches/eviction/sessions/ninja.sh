#!/bin/sh
# Weeks on a C++ project with debug information: a source is edited and built forty times, a header now and then, two
# branches, a clean build each night, an optimised build beside it.
#
#     ninja.sh ninja-build-1.11.1               in an empty directory; the argument is the unpacked source; ibid's links come first on PATH
set -eu
cp -a "$1" work
for kind in Debug Release; do
    cmake -S work -B "$kind" -G Ninja -DCMAKE_BUILD_TYPE=$kind -DBUILD_TESTING=OFF >/dev/null
done
ninja -C Debug >/dev/null
for number in $(seq 40); do
    source=work/src/$(cd work/src && echo build.cc graph.cc state.cc ninja.cc parser.cc status.cc util.cc | cut -d' ' -f$((number % 7 + 1)))
    [ -f "$source" ] || source=work/src/build.cc
    cp "$source" before
    echo "int edit_$number() { return $number; }" >>"$source"
    ninja -C Debug >/dev/null
    # Every third edit is taken back.
    [ $((number % 3)) != 0 ] || { cp before "$source" && ninja -C Debug >/dev/null; }
    [ $((number % 10)) != 5 ] || { echo "// $number" >>work/src/util.h && ninja -C Debug >/dev/null; }
    [ $((number % 10)) != 0 ] || { ninja -C Debug -t clean >/dev/null && ninja -C Debug >/dev/null && ninja -C Release >/dev/null; }
done

#!/bin/sh
# Weeks on a C project: Debian's patches of curl are its commits. After each one a debug build; now and then a clean build, an
# older branch and back, an optimised build beside it.
#
#     curl.sh curl_7.88.1-10+deb12u15.dsc       in an empty directory; ibid's links come first on PATH
set -eu
dpkg-source -q --skip-patches -x "$1" main >/dev/null 2>&1
cp -a main old
(cd main && autoreconf -fi >/dev/null 2>&1)
options="--without-ssl --disable-ldap --without-libpsl --disable-shared"
mkdir debug optimised
(cd debug && CFLAGS="-g -O0" ../main/configure -q $options)
(cd optimised && CFLAGS="-O2" ../main/configure -q $options)
build() { make -s -j2 -C "$1" >/dev/null 2>&1; }
# As git does it: only files that differ are written.
switch_to() { (cd "$1" && find lib src include -type f) | while read -r file; do cmp -s "$1/$file" "main/$file" || cp "$1/$file" "main/$file"; done; }
build debug
number=0
for patch in $(grep -v '^#' main/debian/patches/series | cut -d' ' -f1); do
    patch -s -f -p1 -d main <"main/debian/patches/$patch" >/dev/null 2>&1 || continue
    number=$((number + 1))
    build debug || continue
    [ $((number % 8)) != 0 ] || { make -s -C debug clean >/dev/null && build debug; }
    [ $((number % 16)) != 0 ] || build optimised
    [ $((number % 20)) != 0 ] || { cp -a main now && switch_to old && build debug && switch_to now && build debug && rm -r now; }
done
echo "$number commits"

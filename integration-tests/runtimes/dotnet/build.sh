#!/bin/sh
# Compiles Function.cs into the cache folder $1 against the CoreCLR there.
set -e
framework=$(echo "$1"/pip/dotnetcore2/bin/shared/Microsoft.NETCore.App/*)
references=
for name in System.Private.CoreLib System.Runtime System.Runtime.Extensions System.Console \
    System.Collections System.Net.Sockets System.Net.Primitives System.Runtime.InteropServices \
    System.Text.RegularExpressions System.Threading System.Threading.Thread netstandard; do
    references="$references -r:$framework/$name.dll"
done
# shellcheck disable=SC2086
mcs -nostdlib -noconfig $references -out:"$1/Function.dll" "$2/Function.cs"
cp "$2/Function.runtimeconfig.json" "$1/"

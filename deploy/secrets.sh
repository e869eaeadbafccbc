#!/usr/bin/env bash
# Writes the passwords and keys of docker compose into secrets/, one file each. Those that exist stay as they are.
set -euo pipefail
cd "$(dirname "$0")/.."

# The folder keeps others out. Its files must be readable by the users of the containers, which have other ids.
mkdir -p -m 700 secrets
chmod 700 secrets
umask 022

write() { # NAME COMMAND...: what the command prints becomes the secret, without a newline
    [ ! -s "secrets/$1" ] || return 0
    "${@:2}" | tr -d '\n' > "secrets/$1.new"
    mv "secrets/$1.new" "secrets/$1"
    echo "wrote secrets/$1"
}

fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; } # 32 bytes in URL-safe base64
hex() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' '; }

write fernet_key fernet
write jwt_secret hex 64
write api_secret_key hex 32
# Letters and digits only: they become part of URLs.
for name in postgres_password mongo_root_password mongo_password; do write "$name" hex 16; done
write admin_password hex 8

#!/bin/sh
# the image has a shell and coreutils, no grep and no sed
set -eu
mc() { command mc --config-dir /tmp/mc "$@"; }
until mc ready store >/dev/null 2>&1; do sleep 2; done
user() { # bucket, access key, secret key
  mc mb --ignore-existing "store/$1"
  printf '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"],
    "Resource": ["arn:aws:s3:::%s", "arn:aws:s3:::%s/*"]}]}' "$1" "$1" > "/tmp/$1.json"
  mc admin policy create store "$1" "/tmp/$1.json"
  mc admin user add store "$2" "$3" >/dev/null
  mc admin policy attach store "$1" --user "$2" || # fails where it is attached already
    case "$(mc admin user info store "$2")" in *"$1"*) ;; *) exit 1 ;; esac
}
user mlflow "$MLFLOW_USER" "$MLFLOW_SECRET"
user regraft-backups "$BACKUP_USER" "$BACKUP_SECRET"
mc version enable store/mlflow
mc ilm rule ls store/mlflow >/dev/null 2>&1 ||
  mc ilm rule add --noncurrent-expire-days 30 store/mlflow

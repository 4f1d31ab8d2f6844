#!/usr/bin/env bash
# Makes the Python stubs of the contract in the folder of the argument; needs the packages of requirements.txt.
set -euo pipefail
stubs=$(realpath -m "${1:?expected the folder for the stubs}")
mkdir -p "$stubs"
cd "$(dirname "$0")/../../proto"
python3 -m grpc_tools.protoc --proto_path=. --python_out="$stubs" --grpc_python_out="$stubs" baton/v1/scoring.proto baton/v1/conversation.proto baton/v1/handoff.proto \
  baton/v1/routing.proto baton/v1/admin.proto

#!/bin/sh
# runc on a node with control groups of version 2 alone. The controllers stay with version 1 on this
# machine, so nothing can be limited: limits are taken out of a bundle before it is run.
previous=
for word; do
	if [ "$previous" = --bundle ]; then
		/usr/bin/python3 - "$word/config.json" <<-'END'
			import json, sys
			spec = json.load(open(sys.argv[1]))
			resources = spec["linux"].get("resources", {})
			spec["linux"]["resources"] = {"devices": resources.get("devices", [])}
			json.dump(spec, open(sys.argv[1], "w"))
		END
	fi
	previous=$word
done
exec runc "$@"

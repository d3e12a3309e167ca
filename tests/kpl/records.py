"""What another implementation makes of aggregated Kinesis records.

    records.py split         takes a record a line, in base64, and says its sub-records, a JSON object a line
    records.py join LIMIT    takes sub-records, and says the records of at most LIMIT bytes that they make

A sub-record is {"partition_key": TEXT, "data": BASE64}; one that was split off has a "record" too, which counts the lines
that were taken. Both keep the order. What is not aggregated is split into itself, with the partition key "none".
"""

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records


def split(lines):
    for number, line in enumerate(lines):
        record = {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": str(number),
            "partitionKey": "none",
            "approximateArrivalTimestamp": 0,
            "data": line.decode().strip(),
        }
        for found in iter_deaggregate_records([{"kinesis": record}]):
            data, key = found["kinesis"]["data"], found["kinesis"]["partitionKey"]
            data = data.decode() if isinstance(data, bytes) else data
            print(json.dumps({"record": number, "partition_key": key, "data": data}))


def join(lines, limit):
    def say(record):
        if record:
            print(base64.b64encode(record.get_contents()[2]).decode())

    aggregator = RecordAggregator(limit)
    for line in lines:
        sub_record = json.loads(line)
        say(aggregator.add_user_record(sub_record["partition_key"], base64.b64decode(sub_record["data"])))
    say(aggregator.clear_and_get())


if sys.argv[1] == "split":
    split(sys.stdin.buffer)
else:
    join(sys.stdin.buffer, int(sys.argv[2]))

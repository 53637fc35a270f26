-- Brings the records of the Kafka sinks of all agents into kreset.lines.
--
-- Set the brokers, the topic and, if it has more partitions, the consumers: at most as many as
-- partitions. More servers share the partitions by the group.

CREATE TABLE IF NOT EXISTS kreset.topic (line String)
ENGINE = Kafka
SETTINGS
    kafka_broker_list = 'kafka.example:9092',
    kafka_topic_list = 'kreset',
    kafka_group_name = 'kreset-clickhouse',
    kafka_format = 'RawBLOB',
    kafka_num_consumers = 2,
    kafka_thread_per_consumer = 1,
    kafka_max_block_size = 65536;

CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.lines_from_topic TO kreset.lines AS
SELECT line FROM kreset.topic;

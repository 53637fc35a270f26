-- What `kreset-trace correlate` finds, found by ClickHouse: the same rules, each as a step.
--
-- Every minute each step makes its table anew from those before it, and the last one adds what
-- is new to kreset.findings. The tables of the steps remain to be looked at: where a finding is
-- not what one expected, kreset.pairs has the two events that it rests on, kreset.watches what
-- the other host's agent was doing. docs/two-hosts.md has the rules in words.
--
-- What is judged, and by how much that is known, is in kreset.scope alone. To judge a past day,
-- replace that view, run `SYSTEM REFRESH VIEW` and `SYSTEM WAIT VIEW` on each step in order, and
-- put it back.

-- Events from `from_ns` on are read; those from `judge_from_ns` until `judge_until_ns` are
-- judged. What is read before tells clocks and agents, and is judged already. Judging waits for
-- 10 s out of order and three summaries, as `correlate --follow` does.
CREATE OR REPLACE VIEW kreset.scope AS
WITH toUnixTimestamp64Nano(now64(9)) AS now_ns
SELECT
    now_ns - 4500000000000 AS from_ns,
    now_ns - 900000000000 AS judge_from_ns,
    now_ns - 40000000000 AS judge_until_ns,
    -- How far out of order events may come.
    10000000000 AS window_ns;

-- Whether a RST that was sent and one that was received may be the same: after a FIN two numbers
-- are accepted.
CREATE OR REPLACE FUNCTION kreset_may_be_same AS (sent, received) ->
    ifNull(bitAnd(toInt64(sent) - toInt64(received) + 1, 4294967295) <= 2, true);

-- The event of one end that a finding is about: of several the oldest, and of several RSTs the
-- one that the other host received. Both are lists, oldest first.
CREATE OR REPLACE FUNCTION kreset_principal AS (mine, theirs) ->
    mine[coalesce(
        nullIf(arrayFirstIndex(
            it -> it.saw = 'sent' AND it.sequence IS NOT NULL AND arrayExists(got -> got.saw = 'received', theirs)
                AND kreset_may_be_same(it.sequence, arrayFirst(got -> got.saw = 'received', theirs).sequence),
            mine), 0),
        nullIf(arrayFirstIndex(it -> it.saw = 'received', mine), 0),
        1)];

-- Ends of connections as one host saw them; an event of both ends of a connection is two. Those
-- of one flow are one cluster; an event without a flow is one of its own.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.ends
REFRESH EVERY 1 MINUTE
ENGINE = MergeTree ORDER BY cluster EMPTY AS
SELECT
    if(flow_id = '', id, flow_id) AS cluster,
    CAST((
        at_ns, (boot, run, number), id, (boot, host), kind, direction = 'sent', role,
        -- A RST by which a kernel gives up after unanswered keepalives is no cause but a
        -- consequence.
        multiIf(
            kind = 'timeout', 'timeout',
            kind = 'close', 'closed',
            direction = 'received', 'received',
            kernel_reason = 'TCP_KEEPALIVE_TIMEOUT' OR verdict = 'middlebox_idle_drop', 'timeout',
            'sent'),
        verdict, cause, confidence, (client_address, client_port), (broker_address, broker_port),
        community_id, flow_id, sequence, wire_idle_ms, provoked_by, kreset_probe, kernel_reason,
        idle_share, advice
    ), 'Tuple(
        at_ns Int64, origin Tuple(boot UInt64, run UInt64, number UInt64), id String,
        machine Tuple(boot UInt64, host String), kind String, is_sent Bool, role String, saw String,
        verdict String, cause String, confidence Float64,
        client Tuple(address String, port UInt16), broker Tuple(address String, port UInt16),
        community_id String, flow_id String, sequence Nullable(UInt32), wire_idle_ms Nullable(Float64),
        provoked_by String, kreset_probe String, kernel_reason String, idle_share Nullable(Float64), advice String)') AS end,
    -- Both hosts reported an event of the flow.
    uniqExact(role) OVER (PARTITION BY cluster) = 2 AS is_whole
FROM (
    SELECT * REPLACE (if(direction = 'received' AND other_role != '', '', kernel_reason) AS kernel_reason)
    FROM kreset.events FINAL WHERE at_ns >= (SELECT from_ns FROM kreset.scope)
    UNION ALL
    SELECT * REPLACE (
        other_ns AS at_ns, other_role AS role, other_direction AS direction,
        other_client_address AS client_address, other_client_port AS client_port,
        other_broker_address AS broker_address, other_broker_port AS broker_port,
        other_wire_idle_ms AS wire_idle_ms, other_kernel_reason AS kernel_reason, '' AS provoked_by)
    FROM kreset.events FINAL WHERE at_ns >= (SELECT from_ns FROM kreset.scope) AND other_role != '')
WHERE kind IN ('reset', 'close', 'timeout');

-- How far ahead the clock of one machine (a host in one boot) is of another's: from `since_ns`
-- on, the median of the last 32 RSTs that both saw, of an hour at most.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.clocks
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.ends
ENGINE = MergeTree ORDER BY (here, there, since_ns) EMPTY AS
WITH
    resets AS (
        SELECT end FROM kreset.ends
        WHERE is_whole AND end.kind = 'reset' AND end.sequence IS NOT NULL),
    met AS (
        SELECT
            least(c.end.machine, b.end.machine) AS first,
            greatest(c.end.machine, b.end.machine) AS second,
            greatest(c.end.at_ns, b.end.at_ns) AS seen_ns,
            if(c.end.is_sent, c.end.origin, b.end.origin) AS sent,
            any(if(first = c.end.machine, b.end.at_ns - c.end.at_ns, c.end.at_ns - b.end.at_ns)) AS ahead_ns
        FROM (SELECT end, end.flow_id AS flow_id FROM resets WHERE end.role = 'client') AS c
        JOIN (SELECT end, end.flow_id AS flow_id FROM resets WHERE end.role = 'broker') AS b USING flow_id
        WHERE c.end.is_sent != b.end.is_sent AND c.end.machine != b.end.machine
            AND if(c.end.is_sent,
                kreset_may_be_same(c.end.sequence, b.end.sequence),
                kreset_may_be_same(b.end.sequence, c.end.sequence))
        GROUP BY first, second, seen_ns, sent),
    lasting AS (
        SELECT
            *, groupArray((seen_ns, ahead_ns)) OVER (
                PARTITION BY first, second ORDER BY seen_ns, sent
                ROWS BETWEEN 31 PRECEDING AND CURRENT ROW) AS last_ones
        FROM met),
    medians AS (
        SELECT
            first, second, seen_ns, sent,
            arraySort(arrayMap(it -> it.2, arrayFilter(it -> it.1 >= seen_ns - 3600000000000, last_ones))) AS sorted,
            sorted[intDiv(length(sorted), 2) + 1] AS median_ns
        FROM lasting)
SELECT
    arrayJoin([(first, second, median_ns), (second, first, -median_ns)]) AS way,
    way.1 AS here, way.2 AS there, way.3 AS ahead_ns,
    -- Of an event, RSTs that were seen until the window was over count too.
    seen_ns - assumeNotNull((SELECT window_ns FROM kreset.scope)) AS since_ns
FROM (SELECT * FROM medians ORDER BY sent DESC LIMIT 1 BY first, second, seen_ns);

-- Clusters of one host that belong to one of another host, `joined`: by the number of the RST,
-- else by both ends. If several fit, or one that fits another as well, none is taken.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.joins
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.clocks
ENGINE = MergeTree ORDER BY cluster EMPTY AS
WITH
    alone AS (SELECT cluster, end, ifNull(end.sequence, 0) AS sequence, (end.client, end.broker) AS ends FROM kreset.ends WHERE NOT is_whole),
    c AS (SELECT * FROM alone WHERE end.role = 'client'),
    b AS (SELECT * FROM alone WHERE end.role = 'broker'),
    fitting AS (
        SELECT c.cluster AS mine, b.cluster AS theirs, c.end AS here, b.end AS there, 1 AS way
        FROM c JOIN b ON c.sequence = b.sequence
        WHERE c.sequence != 0 AND here.is_sent != there.is_sent
        UNION ALL
        SELECT c.cluster AS mine, b.cluster AS theirs, c.end AS here, b.end AS there, 2 AS way
        FROM c JOIN b ON c.ends = b.ends
        WHERE multiIf(
            here.is_sent = there.is_sent, true,
            here.is_sent, kreset_may_be_same(here.sequence, there.sequence),
            kreset_may_be_same(there.sequence, here.sequence))),
    near AS (
        SELECT DISTINCT mine, theirs, way
        FROM (
            SELECT *, here.machine AS machine, there.machine AS other, least(here.at_ns, there.at_ns) AS about_ns
            FROM fitting WHERE here.flow_id = '' OR there.flow_id = '') AS it
        ASOF LEFT JOIN kreset.clocks AS clock
            ON clock.here = it.machine AND clock.there = it.other AND clock.since_ns <= it.about_ns
        WHERE abs(it.here.at_ns + clock.ahead_ns - it.there.at_ns) <= 5000000000),
    partners AS (
        SELECT
            cluster,
            groupUniqArrayIf(other, way = 1) AS by_number,
            if(notEmpty(by_number), by_number, groupUniqArray(other)) AS others,
            if(length(others) = 1, others[1], '') AS partner
        FROM (
            SELECT mine AS cluster, theirs AS other, way FROM near
            UNION ALL
            SELECT theirs AS cluster, mine AS other, way FROM near)
        GROUP BY cluster)
SELECT
    one.cluster AS cluster,
    one.partner != '' AND other.partner = one.cluster AS is_joined,
    if(is_joined, least(one.cluster, one.partner), one.cluster) AS joined
FROM partners AS one LEFT JOIN partners AS other ON other.cluster = one.partner;

-- What belongs to one end of a connection, and which event of either host stands for it. An
-- event that is not there has no id.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.pairs
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.joins
ENGINE = MergeTree ORDER BY pair EMPTY AS
SELECT
    if(joins.cluster = '', ends.cluster, joins.joined) AS pair,
    max(joins.cluster != '' AND NOT joins.is_joined) AS is_ambiguous,
    -- An end begins with its time and its origin.
    arraySort(groupArrayIf(ends.end, ends.end.role = 'client')) AS of_client,
    arraySort(groupArrayIf(ends.end, ends.end.role = 'broker')) AS of_broker,
    kreset_principal(of_client, of_broker) AS client_end,
    kreset_principal(of_broker, of_client) AS broker_end
FROM kreset.ends AS ends LEFT JOIN kreset.joins AS joins ON joins.cluster = ends.cluster
GROUP BY pair;

-- What each agent watched: for a time of its own clock the row with the last `from_ns` before,
-- if that is not after `until_ns`. It rests on the start or summary before, at `since_ns`, and
-- the first one that vouches for the time, at `vouched_ns`: events are held for up to a second.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.spans
REFRESH EVERY 1 MINUTE
ENGINE = MergeTree ORDER BY (machine, run, from_ns) EMPTY AS
WITH
    numbered AS (
        SELECT *, (boot, host) AS machine, row_number() OVER agent AS place
        FROM (SELECT * FROM kreset.events FINAL WHERE at_ns >= (SELECT from_ns FROM kreset.scope))
        WINDOW agent AS (PARTITION BY boot, host, run ORDER BY number)),
    losses AS (SELECT machine, run, groupArray(at_ns) AS at FROM numbered WHERE kind = 'loss' GROUP BY machine, run),
    vouching AS (
        SELECT
            machine, run, ports, addresses,
            (at_ns, number - place, lost, unshown) AS here,
            at_ns - if(is_last, 0, 1000000000) AS last_ns,
            max(last_ns) OVER (agent ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS passed_ns,
            row_number() OVER agent AS nth,
            lagInFrame(here, 1) OVER agent AS before,
            lagInFrame(here, 2) OVER agent AS before_that
        FROM numbered
        WHERE kind IN ('start', 'summary')
        WINDOW agent AS (PARTITION BY machine, run ORDER BY number)),
    -- The report just before vouches too, once it is written: between it and a second earlier,
    -- only the one before that does.
    spans AS (
        SELECT *, before AS first, greatest(passed_ns + 1, first.1) AS from_ns, last_ns AS until_ns
        FROM vouching WHERE nth > 1
        UNION ALL
        SELECT *, before_that AS first, passed_ns + 1 AS from_ns, least(before.1 - 1, last_ns) AS until_ns
        FROM vouching WHERE nth > 2)
SELECT
    spans.machine AS machine, spans.run AS run, from_ns, until_ns,
    first.1 AS since_ns, here.1 AS vouched_ns, ports, addresses,
    here.3 > first.3 OR here.2 != first.2
        OR arrayExists(it -> it BETWEEN since_ns AND vouched_ns, losses.at) AS has_lost,
    here.4 > first.4 AS has_left_out
FROM spans LEFT JOIN losses ON losses.machine = spans.machine AND losses.run = spans.run
WHERE from_ns <= until_ns;

-- For either role of a pair: what its host's agent is asked. Whether it would have reported a RST
-- that its host sent, when the other host's event was.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.asked
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.pairs
ENGINE = MergeTree ORDER BY (pair, role) EMPTY AS
SELECT
    pair, is_ambiguous,
    ask.1 AS role,
    ask.2.id != '' AS has_reported, ask.2.machine AS machine, ask.2.origin.run AS run, ask.2.at_ns AS reported_ns,
    ask.3.id != '' AS is_about_other, ask.3.machine AS other, ask.3.at_ns AS about_ns, ask.3.flow_id AS flow_id,
    -- Both ends of the connection as the host that reported saw them.
    if(has_reported, (ask.2.client, ask.2.broker), (ask.3.client, ask.3.broker)) AS ends,
    if(role = 'client', ends.1.address, ends.2.address) AS address,
    ends.2.port AS port
FROM kreset.pairs
ARRAY JOIN [('client', client_end, broker_end), ('broker', broker_end, client_end)] AS ask;

-- The answer of the agent that reported, or else of the one whose host has the address. `lacks`
-- says what is missing for a proof, a letter each, in the order of `missing` in the schema (see
-- kreset_missing).
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.answers
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.asked, kreset.spans, kreset.clocks
ENGINE = MergeTree ORDER BY (pair, role) EMPTY AS
WITH
    agents AS (
        SELECT pair, role, address, port, has_reported, machine, run, reported_ns, is_about_other, other, about_ns
        FROM kreset.asked WHERE has_reported
        UNION ALL
        SELECT pair, role, asked.address AS address, port, has_reported, (owner.boot, owner.host) AS machine, owner.run AS run,
            reported_ns, is_about_other, other, about_ns
        FROM kreset.asked AS asked JOIN (SELECT * FROM kreset.owners FINAL) AS owner ON owner.address = asked.address
        WHERE NOT has_reported),
    -- When it was, by the clock of each.
    timed AS (
        SELECT it.*, multiIf(
            NOT it.is_about_other, it.reported_ns,
            it.other = it.machine OR clock.since_ns != 0, it.about_ns + clock.ahead_ns,
            it.has_reported, it.reported_ns,
            it.about_ns) AS at_ns
        FROM agents AS it
        ASOF LEFT JOIN kreset.clocks AS clock
            ON clock.here = it.other AND clock.there = it.machine AND clock.since_ns <= it.about_ns),
    runs AS (
        SELECT start.machine AS machine, start.run AS run, start_ns, degraded, last_ns
        FROM (SELECT (boot, host) AS machine, run, start_ns, degraded FROM kreset.starts FINAL) AS start
        LEFT JOIN (SELECT machine, run, max(until_ns) AS last_ns FROM kreset.spans GROUP BY machine, run) AS span
            ON span.machine = start.machine AND span.run = start.run),
    started AS (
        SELECT it.*, runs.start_ns AS start_ns, runs.degraded AS degraded, runs.last_ns AS last_ns
        FROM timed AS it LEFT JOIN runs ON runs.machine = it.machine AND runs.run = it.run),
    watched AS (
        SELECT it.pair AS pair, it.role AS role, it.has_reported AS has_reported,
            it.machine AS machine, it.run AS run, it.at_ns AS at_ns,
            span.since_ns AS since_ns, span.vouched_ns AS vouched_ns,
            multiIf(
                it.start_ns = 0 OR it.start_ns > it.at_ns, 'b',
                it.at_ns > it.last_ns, 'c',
                it.at_ns > span.until_ns, 'd',
                concat(
                    if(span.has_lost, 'd', ''),
                    if(span.has_left_out, 'e', ''),
                    if(it.degraded, 'f', ''),
                    if(arrayExists(range -> it.port BETWEEN range.1 AND range.2, span.ports), '', 'g'),
                    if(has(span.addresses, it.address), '', 'h'))) AS lacks,
            lacks IN ('b', 'c') AS is_elsewhen
        FROM started AS it
        ASOF LEFT JOIN kreset.spans AS span
            ON span.machine = it.machine AND span.run = it.run AND span.from_ns <= it.at_ns),
    -- Of several agents of one host the best one counts; of an earlier run that has ended, or a
    -- later one, nothing follows.
    best AS (
        SELECT pair, role, any(has_reported) AS has_reported,
            uniqExactIf(machine, NOT is_elsewhen) > 1 AS is_shared,
            argMin((machine, run, at_ns, since_ns, vouched_ns, lacks),
                (is_elsewhen, length(lacks), lacks, machine, run)) AS one
        FROM watched GROUP BY pair, role)
SELECT
    pair, role, has_reported, is_shared,
    one.1 AS machine, one.2 AS run, one.3 AS at_ns, one.4 AS since_ns, one.5 AS vouched_ns,
    if(is_shared, 'h', one.6) AS lacks
FROM best;

-- Where a host's silence about a pair says nothing, since something between may terminate TCP.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.doubts
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.answers
ENGINE = MergeTree ORDER BY (pair, role) EMPTY AS
WITH
    -- RSTs of which nothing says that they were of another connection than the one in question.
    sent AS (
        SELECT end.at_ns AS at_ns, end.machine AS machine, end.origin.run AS run, (end.client, end.broker) AS ends,
            end.flow_id != '' OR ifNull(end.sequence, 0) != 0 AS is_named,
            end.client.address AS client, client IN (SELECT address FROM kreset.owners) AS is_client_known,
            end.broker.address AS broker, broker IN (SELECT address FROM kreset.owners) AS is_broker_known,
            arrayJoin(arrayDistinct([intDiv(at_ns - 1000000000, 2000000000), intDiv(at_ns + 1000000000, 2000000000)])) AS bucket
        FROM kreset.ends AS ends LEFT JOIN kreset.joins AS joins ON joins.cluster = ends.cluster
        WHERE end.kind = 'reset' AND end.is_sent AND NOT ends.is_whole AND NOT joins.is_joined),
    silent AS (
        SELECT answers.pair AS pair, answers.role AS role, answers.machine AS machine, answers.run AS run,
            answers.at_ns AS at_ns, asked.ends AS ends, intDiv(answers.at_ns, 2000000000) AS bucket
        FROM kreset.answers AS answers
        JOIN kreset.asked AS asked ON asked.pair = answers.pair AND asked.role = answers.role
        WHERE NOT answers.has_reported AND NOT answers.is_shared)
-- The host sent such a RST at that time, to an end that no agent reports from, such as a proxy,
-- or without a name to the address of this connection's other end, behind which a proxy may hide:
-- it may be what a device between passed on.
SELECT DISTINCT pair, role
FROM silent
JOIN sent ON sent.machine = silent.machine AND sent.run = silent.run AND sent.bucket = silent.bucket
WHERE abs(sent.at_ns - silent.at_ns) <= 1000000000
    AND (sent.ends = silent.ends
        OR NOT if(silent.role = 'client', sent.is_broker_known, sent.is_client_known)
        OR NOT sent.is_named AND if(
            silent.role = 'client', sent.broker = silent.ends.2.address, sent.client = silent.ends.1.address))
UNION DISTINCT
-- The other host has these ends with other sequence numbers.
SELECT DISTINCT pair, role
FROM (
    SELECT asked.pair AS pair, asked.role AS role, asked.other AS machine, asked.about_ns AS about_ns,
        theirs.machine AS other, theirs.at_ns AS at_ns
    FROM kreset.asked AS asked
    JOIN (
        SELECT end.machine AS machine, end.at_ns AS at_ns, end.role AS role, end.flow_id AS flow_id, (end.client, end.broker) AS ends
        FROM kreset.ends WHERE end.flow_id != '') AS theirs ON theirs.ends = asked.ends AND theirs.role = asked.role
    WHERE NOT asked.has_reported AND theirs.flow_id != asked.flow_id) AS it
ASOF LEFT JOIN kreset.clocks AS clock
    ON clock.here = it.machine AND clock.there = it.other AND clock.since_ns <= it.about_ns
WHERE abs(it.about_ns + clock.ahead_ns - it.at_ns) <= 1000000000;

-- Whether the host at `role` of a pair was watching, and lost nothing: `is_whole`.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.watches
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.doubts
ENGINE = MergeTree ORDER BY (pair, role) EMPTY AS
SELECT
    asked.pair AS pair, asked.role AS role,
    concat(
        if(answers.pair = '', 'a', answers.lacks),
        if(asked.is_ambiguous AND NOT asked.has_reported, 'k', ''),
        if((asked.pair, asked.role) IN (SELECT pair, role FROM kreset.doubts), 'i', '')) AS lacks,
    CAST((
        if(answers.is_shared, (0, ''), answers.machine), answers.since_ns, answers.vouched_ns,
        lacks, lacks = '' AND answers.pair != ''
    ), 'Tuple(machine Tuple(boot UInt64, host String), since_ns Int64, vouched_ns Int64, lacks String, is_whole Bool)') AS watch
FROM kreset.asked AS asked LEFT JOIN kreset.answers AS answers ON answers.pair = asked.pair AND answers.role = asked.role;

-- A host that never had the connection cannot say how long it was silent: the other one can.
CREATE OR REPLACE FUNCTION kreset_said AS (verdict, cause, other_idle_ms) ->
    multiIf(
        cause NOT IN ('moved', 'rebound') OR other_idle_ms IS NULL, (verdict, cause),
        other_idle_ms < 1000, ('middlebox_reset', 'moved'),
        ('middlebox_idle_reset', 'rebound'));

-- What follows: docs/two-hosts.md, "What follows".
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.conclusions
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.watches
ENGINE = MergeTree ORDER BY pair EMPTY AS
WITH
    known AS (
        SELECT
            pairs.pair AS pair, is_ambiguous, of_client, of_broker, client_end, broker_end, client_watch, broker_watch,
            if(client_end.saw = 'sent', client_end, broker_end) AS sent,
            if(client_end.saw = 'sent', broker_end, client_end) AS received,
            sent.machine AS machine, received.machine AS other, received.at_ns AS about_ns
        FROM kreset.pairs AS pairs
        JOIN (
            SELECT pair, anyIf(watch, role = 'client') AS client_watch, anyIf(watch, role = 'broker') AS broker_watch
            FROM kreset.watches GROUP BY pair) AS watches ON watches.pair = pairs.pair),
    seen AS (
        SELECT
            known.pair AS pair, is_ambiguous, of_client, of_broker, client_end, broker_end, client_watch, broker_watch,
            client_end.saw AS c, broker_end.saw AS b,
            -- A RST that is ahead of what the receiver expects is questioned, and the answer has
            -- the number that was asked for.
            about_ns + clock.ahead_ns - sent.at_ns BETWEEN -50000000 AND 1000000000
                AND sent.flow_id != '' AND sent.flow_id = received.flow_id
                AND ifNull(bitAnd(toInt64(sent.sequence) - toInt64(received.sequence), 4294967295)
                    BETWEEN 1 AND 1073725439, false) AS is_challenged,
            kreset_may_be_same(sent.sequence, received.sequence) OR is_challenged AS is_same,
            kreset_said(client_end.verdict, client_end.cause, broker_end.wire_idle_ms) AS client_said,
            kreset_said(broker_end.verdict, broker_end.cause, client_end.wire_idle_ms) AS broker_said,
            -- Which rule, and the host that it is about: the one that sent the RST, or whose
            -- connection ended.
            multiIf(
                c = 'received' AND b = 'sent', if(is_same, ('sender', 'broker'), ('another', 'client')),
                c = 'sent' AND b = 'received', if(is_same, ('sender', 'client'), ('another', 'broker')),
                c = 'received' AND b = 'received', ('both_received', if(
                    client_end.provoked_by NOT IN ('data', 'keepalive') AND broker_end.provoked_by IN ('data', 'keepalive'), 'broker', 'client')),
                -- The RSTs that follow a reported close are not reported.
                c = 'received' AND b = 'closed' AND broker_end.is_sent, ('sender', 'broker'),
                b = 'received' AND c = 'closed' AND client_end.is_sent, ('sender', 'client'),
                c = 'received', ('silent', 'client'),
                b = 'received', ('silent', 'broker'),
                c = 'sent' AND b = 'sent', ('both_sent', if(
                    if(client_end.confidence >= 0.9, greatest(client_end.confidence, 0.99), client_end.confidence)
                        > if(broker_end.confidence >= 0.9, greatest(broker_end.confidence, 0.99), broker_end.confidence), 'client', 'broker')),
                b = 'sent', ('sender', 'broker'),
                c = 'sent', ('sender', 'client'),
                c = 'timeout', ('dropped', 'client'),
                b = 'timeout', ('dropped', 'broker'),
                c = 'closed' AND b = 'closed' AND client_end.is_sent, ('sender', 'client'),
                c = 'closed' AND b = 'closed' AND broker_end.is_sent, ('sender', 'broker'),
                c != '', ('alone', 'client'),
                ('alone', 'broker')) AS applies,
            applies.1 AS rule, applies.2 AS subject
        FROM known
        ASOF LEFT JOIN kreset.clocks AS clock
            ON clock.here = known.other AND clock.there = known.machine AND clock.since_ns <= known.about_ns),
    -- What is missing for a proof, and what one host alone said where anything is.
    weighed AS (
        SELECT *,
            if(subject = 'client', client_end, broker_end) AS it,
            if(subject = 'client', client_said, broker_said) AS said,
            if(subject = 'client', broker_end, client_end) AS other,
            if(subject = 'client', broker_watch, client_watch) AS watch,
            multiIf(
                rule = 'another', 'j',
                rule IN ('silent', 'dropped'), watch.lacks,
                rule = 'both_received', concat(client_watch.lacks, replaceRegexpAll(broker_watch.lacks, concat('[', client_watch.lacks, ' ]'), '')),
                '') AS lacks,
            multiIf(
                rule = 'silent', watch.is_whole,
                rule = 'dropped', watch.is_whole AND it.verdict = 'middlebox_idle_drop',
                rule = 'both_received', client_watch.is_whole AND broker_watch.is_whole,
                rule = 'both_sent', client_said = broker_said,
                rule = 'sender') AS is_proven,
            is_proven AND rule IN ('silent', 'both_received') AS is_device,
            -- A device that refuses a connection refuses it all the same.
            is_device AND NOT (it.verdict IN ('middlebox_idle_reset', 'middlebox_reset') OR it.cause = 'refused') AS is_renamed,
            rule = 'both_sent' AND NOT is_proven AS is_conflict,
            -- Whether a device's idle timer ran out: what that host held likelier, or by the
            -- silence if it held neither possible. A silence of a second may have outlived one.
            if(ifNull(it.wire_idle_ms, 0) >= 1000, ifNull(it.idle_share, 1), 0) AS idle,
            greatest(idle, 1 - idle) AS sure
        FROM seen)
SELECT
    pair, is_ambiguous, of_client, of_broker, client_end, broker_end, client_watch, broker_watch, lacks,
    is_renamed AND idle >= 0.5 AS is_idle,
    multiIf(
        is_conflict, 'indeterminate',
        is_idle, 'middlebox_idle_reset',
        is_renamed, 'middlebox_reset',
        rule IN ('sender', 'both_sent'), said.1,
        it.verdict) AS verdict,
    multiIf(
        is_conflict, '',
        is_idle AND it.provoked_by = 'nothing', 'reset_on_timer',
        is_idle, 'reset_on_send',
        is_renamed, 'not_idle',
        rule IN ('sender', 'both_sent'), said.2,
        it.cause) AS cause,
    multiIf(
        is_conflict, least(it.confidence, 0.5),
        is_renamed, if(sure >= 0.95, 0.99, least(sure, 0.89)),
        is_device OR rule = 'dropped' AND is_proven, greatest(it.confidence, 0.99),
        is_proven AND other.id != '' AND it.confidence >= 0.9, greatest(it.confidence, 0.99),
        it.confidence) AS confidence,
    multiIf(
        NOT is_proven, 'one_host',
        rule = 'both_received', 'both_received',
        rule IN ('silent', 'dropped'), 'nobody_sent',
        'sender_seen') AS proof,
    if(is_conflict, 'both hosts sent a RST, and each names another cause', '') AS conflict,
    multiIf(
        is_conflict, 'unknown',
        is_device, 'device',
        rule = 'dropped' AND is_proven, '',
        is_proven, subject,
        -- As far as that host alone can say.
        it.saw = 'timeout', '',
        it.saw = 'sent', subject,
        it.verdict IN ('middlebox_idle_reset', 'middlebox_reset'), 'device',
        it.verdict = 'broker_originated', 'broker',
        it.verdict = 'client_originated', 'client',
        'unknown') AS sent_by,
    -- The end whose event the finding reports.
    if(rule IN ('sender', 'both_sent') AND other.id != '', other, it) AS reported
FROM weighed;

-- The letters of `lacks` as the schema has them.
CREATE OR REPLACE FUNCTION kreset_missing AS (letters) ->
    arrayMap(
        letter -> ['no_agent', 'not_attached_yet', 'ended', 'lost', 'unshown', 'degraded', 'port', 'address',
            'connection_unknown', 'another_reset', 'ambiguous', 'late'][ascii(letter) - 96],
        extractAll(letters, '.'));

-- What a host saw, if it reported something or was watching; without a name it did not. Lists of
-- one, since a function's own parameters have no elements to name.
CREATE OR REPLACE FUNCTION kreset_host AS (reported, watched) ->
    arrayMap((end, watch) -> CAST((
        multiIf(end.id != '', end.machine.host, watch.is_whole, watch.machine.host, ''),
        multiIf(end.id != '', end.saw, watch.is_whole, 'nothing', ''),
        end.at_ns, end.client, end.broker, end.verdict, end.cause, end.confidence, end.kernel_reason,
        if(watch.is_whole, watch.since_ns, 0), if(watch.is_whole, watch.vouched_ns, 0)),
    'Tuple(
        name String, saw String, at_ns Int64,
        client Tuple(address String, port UInt16), broker Tuple(address String, port UInt16),
        verdict String, cause String, confidence Float64, kernel_reason String,
        watched_from_ns Int64, watched_until_ns Int64)'), [reported], [watched])[1];

-- Findings, with the fields that the schema gives them but for `summary`, which is in words. A
-- text that is null there is '' here, and a time is 0.
CREATE TABLE IF NOT EXISTS kreset.findings
(
    at_ns Int64 CODEC(Delta, ZSTD),
    id String,
    host LowCardinality(String),
    community_id String,
    flow_id String,
    sent_by LowCardinality(String),
    kreset_probe LowCardinality(String),
    verdict LowCardinality(String),
    cause LowCardinality(String),
    confidence Float64,
    proof LowCardinality(String),
    missing Array(LowCardinality(String)),
    conflict LowCardinality(String),
    client Tuple(address String, port UInt16),
    broker Tuple(address String, port UInt16),
    client_host Tuple(name String, saw String, at_ns Int64, client Tuple(address String, port UInt16), broker Tuple(address String, port UInt16), verdict String, cause String, confidence Float64, kernel_reason String, watched_from_ns Int64, watched_until_ns Int64),
    broker_host Tuple(name String, saw String, at_ns Int64, client Tuple(address String, port UInt16), broker Tuple(address String, port UInt16), verdict String, cause String, confidence Float64, kernel_reason String, watched_from_ns Int64, watched_until_ns Int64),
    skew_ms Nullable(Float64),
    wire_idle_ms Nullable(Float64),
    event_ids Array(String),
    advice LowCardinality(String),
    time DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(at_ns, 'UTC')
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Nano(at_ns, 'UTC'))
ORDER BY (at_ns, id)
TTL toDateTime(fromUnixTimestamp64Nano(at_ns, 'UTC')) + INTERVAL 400 DAY;

-- Ends of connections that `kreset-trace probe` listed, from 5 s before to 5 s after.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.listed
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.pairs
ENGINE = MergeTree ORDER BY pair EMPTY AS
SELECT DISTINCT pair
FROM (
    SELECT pairs.pair AS pair, probed.opened_ns AS opened_ns, probed.ended_ns AS ended_ns,
        pairs.end.machine AS machine, probed.machine AS other, pairs.end.at_ns AS about_ns
    FROM (
        SELECT pair, arrayJoin(arrayConcat(of_client, of_broker)) AS end, (end.client, end.broker) AS ends
        FROM kreset.pairs) AS pairs
    JOIN (
        SELECT opened_ns, ended_ns, (boot, host) AS machine, ((client_address, client_port), (broker_address, broker_port)) AS ends
        FROM kreset.probed FINAL) AS probed ON probed.ends = pairs.ends) AS near
ASOF LEFT JOIN kreset.clocks AS clock
    ON clock.here = near.machine AND clock.there = near.other AND clock.since_ns <= near.about_ns
WHERE near.about_ns + clock.ahead_ns BETWEEN near.opened_ns - 5000000000 AND near.ended_ns + 5000000000;

-- Adds what is new. An event that came late gives a finding of its own, with all the events that
-- it belongs to, beside the one without it.
CREATE MATERIALIZED VIEW IF NOT EXISTS kreset.findings_from_conclusions
REFRESH EVERY 1 MINUTE DEPENDS ON kreset.conclusions, kreset.listed
APPEND TO kreset.findings EMPTY AS
WITH
    due AS (
        SELECT *,
            -- An event of both ends is there twice.
            arrayDistinct(arrayMap(end -> end.id, arrayConcat(of_client, of_broker))) AS event_ids,
            reported.at_ns AS about_ns,
            multiIf(client_end.id != '', client_end.machine, client_watch.machine) AS here,
            multiIf(broker_end.id != '', broker_end.machine, broker_watch.machine) AS there
        FROM kreset.conclusions
        WHERE arrayMin(end -> end.at_ns, arrayConcat(of_client, of_broker))
            BETWEEN (SELECT judge_from_ns FROM kreset.scope) AND (SELECT judge_until_ns FROM kreset.scope))
SELECT
    reported.at_ns AS at_ns,
    -- The same for the same events, as `correlate` makes it.
    concat('pair-', substring(lower(hex(SHA1(arrayStringConcat(
        arrayMap(id -> concat(id, '\0'), arraySort(event_ids)))))), 1, 16)) AS id,
    reported.machine.host AS host,
    reported.community_id AS community_id,
    multiIf(reported.flow_id != '', reported.flow_id, client_end.flow_id != '', client_end.flow_id, broker_end.flow_id) AS flow_id,
    sent_by,
    -- The surest way in which an event says so.
    arrayFirst(
        way -> arrayExists(end -> end.kreset_probe = way, arrayConcat(of_client, of_broker))
            OR way = 'listed' AND pair IN (SELECT pair FROM kreset.listed) OR way = '',
        ['process', 'mss', 'listed', '']) AS kreset_probe,
    verdict,
    cause,
    confidence,
    proof,
    if(proof = 'one_host', kreset_missing(lacks), []) AS missing,
    conflict,
    reported.client AS client,
    reported.broker AS broker,
    kreset_host(client_end, client_watch) AS client_host,
    kreset_host(broker_end, broker_watch) AS broker_host,
    multiIf(
        here = (0, '') OR there = (0, ''), NULL,
        here = there, 0,
        clock.since_ns != 0, clock.ahead_ns / 1000000,
        NULL) AS skew_ms,
    reported.wire_idle_ms AS wire_idle_ms,
    event_ids,
    -- That of the host whose verdict it is, where one named it.
    multiIf(
        client_end.id != '' AND (client_end.verdict, client_end.cause) = (verdict, cause), client_end.advice,
        broker_end.id != '' AND (broker_end.verdict, broker_end.cause) = (verdict, cause), broker_end.advice,
        conflict != '', 'Compare packet captures of both hosts.',
        sent_by = 'device', 'Take this to whoever runs the network between the two hosts: something between them made the RST.',
        '') AS advice
FROM due
ASOF LEFT JOIN kreset.clocks AS clock
    ON clock.here = due.here AND clock.there = due.there AND clock.since_ns <= due.about_ns
WHERE id NOT IN (SELECT id FROM kreset.findings WHERE at_ns >= (SELECT from_ns FROM kreset.scope));

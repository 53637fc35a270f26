// kafkajs, which takes commands line by line on standard input.
//
// Arguments: producer|consumer|admin|transactions TOPIC KEY=VALUE.... Answers begin with "@", all
// else is the client's own log. The end of standard input ends the client at once.

const fs = require("node:fs");
const net = require("node:net");
const tls = require("node:tls");
const { createInterface } = require("node:readline");
const { Kafka, logLevel } = require("kafkajs");

const [job, topic, ...words] = process.argv.slice(2);
const settings = Object.fromEntries(
  words.map((word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)]),
);

const log = () => ({ namespace, label, log }) => {
  const { message, error, broker } = log;
  console.error([label, namespace, message, error, broker].filter(Boolean).join(" "));
};

// As kafkajs makes them, but for when they send keepalives: that is no setting of it.
const keptAlive = (delay) => ({ host, port, ssl, onConnect }) => {
  const socket = ssl
    ? tls.connect({ host, port, ...ssl }, onConnect)
    : net.connect({ host, port }, onConnect);
  return socket.setKeepAlive(true, delay);
};

const mechanism = settings["sasl.mechanism"];
const kafka = new Kafka({
  clientId: "kafkajs",
  brokers: [settings["bootstrap.servers"]],
  logLevel: logLevel.INFO,
  logCreator: log,
  // Its default, a second, is too short for a machine that runs many programs at once.
  connectionTimeout: 10000,
  ssl: settings.ca ? { ca: [fs.readFileSync(settings.ca, "utf8")] } : undefined,
  sasl: mechanism && {
    mechanism: mechanism.toLowerCase(),
    username: settings["sasl.username"],
    password: settings["sasl.password"],
  },
  socketFactory: settings["keepalive.ms"] && keptAlive(Number(settings["keepalive.ms"])),
});

const make = {
  producer: () => kafka.producer(),
  transactions: () =>
    kafka.producer({ transactionalId: "lab", idempotent: true, maxInFlightRequests: 1 }),
  consumer: () => kafka.consumer({ groupId: settings["group.id"] }),
  admin: () => kafka.admin(),
};

// Small requests, one by one, as the other clients send them.
const BATCH = 20;

let client;
let received = 0;

const actions = {
  async hello() {
    if (!client) {
      client = make[job]();
      await client.connect();
      if (job === "consumer") {
        await client.subscribe({ topics: [topic], fromBeginning: true });
        await client.run({ eachMessage: async () => void received++ });
      }
    }
    return job === "admin" ? `nodes ${(await client.describeCluster()).brokers.length}` : job;
  },
  async sent(count, size) {
    const sender = job === "transactions" ? await client.transaction() : client;
    for (let left = count; left > 0; left -= BATCH) {
      const length = Math.min(left, BATCH);
      const messages = Array.from({ length }, () => ({ value: Buffer.alloc(size) }));
      await sender.send({ topic, messages });
    }
    if (job === "transactions") {
      await sender.commit();
    }
    return count;
  },
  async polled(millis) {
    const before = received;
    await new Promise((done) => setTimeout(done, millis));
    return received - before;
  },
  async closed() {
    await client.disconnect();
    return "";
  },
};

const verbs = { hello: "hello", send: "sent", poll: "polled", close: "closed" };

async function main() {
  console.log(`@begun ${job}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [word, ...numbers] = line.split(" ");
    const verb = verbs[word];
    try {
      console.log(`@${verb} ${await actions[verb](...numbers.map(Number))}`);
    } catch (failure) {
      console.log(`@failed ${failure.name}: ${failure.message}`);
    }
    if (word === "close") {
      process.exit(0);
    }
  }
  // No goodbyes: the lab is gone.
  process.exit(1);
}

main();

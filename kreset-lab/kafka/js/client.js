// kafkajs, told what to do line by line on standard input.
//
// Arguments: producer|consumer|admin TOPIC KEY=VALUE.... Answers begin with "@", all else is the
// client's own log. The end of standard input ends the client at once.

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

const kafka = new Kafka({
  clientId: "kafkajs",
  brokers: [settings["bootstrap.servers"]],
  logLevel: logLevel.INFO,
  logCreator: log,
  ssl: settings.ca ? { ca: [require("node:fs").readFileSync(settings.ca, "utf8")] } : undefined,
});

let client;
let received = 0;

const actions = {
  async hello() {
    client = job === "consumer" ? kafka.consumer({ groupId: settings["group.id"] }) : kafka[job]();
    await client.connect();
    if (job === "consumer") {
      await client.subscribe({ topics: [topic], fromBeginning: true });
      await client.run({ eachMessage: async () => void received++ });
    }
    return job;
  },
  async sent(count, size) {
    const messages = Array.from({ length: count }, () => ({ value: Buffer.alloc(size) }));
    await client.send({ topic, messages });
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

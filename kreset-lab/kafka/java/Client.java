import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * One of Kafka's own clients, which takes commands line by line on standard input.
 *
 * <p>Arguments: producer|consumer|admin|transactions TOPIC KEY=VALUE.... Answers begin with "@", all
 * else is the client's own log. The end of standard input ends the client at once.
 */
public final class Client {
    private interface Action {
        String run() throws Exception;
    }

    private final String topic;
    private KafkaProducer<byte[], byte[]> producer;
    private KafkaConsumer<byte[], byte[]> consumer;
    private Admin admin;
    private boolean isTransactional;

    private Client(String topic) {
        this.topic = topic;
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        for (int at = 2; at < arguments.length; at++) {
            String[] setting = arguments[at].split("=", 2);
            settings.put(setting[0], setting[1]);
        }
        Client client = new Client(arguments[1]);
        String job = arguments[0];
        say("begun", () -> client.open(job, settings));
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = line.split(" ");
            switch (words[0]) {
                case "hello" -> say("hello", client::hello);
                case "send" -> say("sent", () ->
                    client.send(Integer.parseInt(words[1]), Integer.parseInt(words[2])));
                case "poll" -> say("polled", () -> client.poll(Integer.parseInt(words[1])));
                case "close" -> {
                    say("closed", client::close);
                    Runtime.getRuntime().halt(0);
                }
                default -> System.out.println("@failed no such command: " + line);
            }
        }
        // No goodbyes: the lab is gone.
        Runtime.getRuntime().halt(1);
    }

    private static void say(String what, Action action) {
        try {
            System.out.println("@" + what + " " + action.run());
        } catch (Exception failure) {
            Throwable cause = failure;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            System.out.println("@failed " + failure.getClass().getSimpleName() + ": "
                + String.valueOf(cause.getMessage()).replace('\n', ' '));
        }
        System.out.flush();
    }

    private String open(String job, Properties settings) {
        ByteArraySerializer out = new ByteArraySerializer();
        ByteArrayDeserializer in = new ByteArrayDeserializer();
        switch (job) {
            case "producer", "transactions" -> {
                isTransactional = job.equals("transactions");
                producer = new KafkaProducer<>(settings, out, out);
            }
            case "consumer" -> {
                consumer = new KafkaConsumer<>(settings, in, in);
                consumer.subscribe(List.of(topic));
            }
            case "admin" -> admin = Admin.create(settings);
            default -> throw new IllegalArgumentException(job);
        }
        return job;
    }

    /** Connects to the broker for the first time. */
    private String hello() throws Exception {
        if (admin != null) {
            return "nodes " + admin.describeCluster().nodes().get().size();
        }
        if (producer != null) {
            if (isTransactional) {
                producer.initTransactions();
            }
            return "partitions " + producer.partitionsFor(topic).size();
        }
        return "partitions " + consumer.partitionsFor(topic).size();
    }

    private String send(int count, int size) throws Exception {
        byte[] value = new byte[size];
        if (isTransactional) {
            producer.beginTransaction();
        }
        List<Future<?>> answers = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            answers.add(producer.send(new ProducerRecord<>(topic, value)));
        }
        producer.flush();
        for (Future<?> answer : answers) {
            answer.get();
        }
        if (isTransactional) {
            producer.commitTransaction();
        }
        return String.valueOf(count);
    }

    private String poll(int millis) {
        long end = System.nanoTime() + millis * 1_000_000L;
        int count = 0;
        do {
            count += consumer.poll(Duration.ofMillis(100)).count();
        } while (System.nanoTime() < end);
        return String.valueOf(count);
    }

    private String close() {
        if (producer != null) {
            producer.close();
        }
        if (consumer != null) {
            consumer.close();
        }
        if (admin != null) {
            admin.close();
        }
        return "";
    }
}

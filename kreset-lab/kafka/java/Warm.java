import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Runs a broker and its clients for a moment and ends in order, so that the JVM can keep the classes
 * that they load (-XX:ArchiveClassesAtExit).
 *
 * <p>Argument: a broker's properties, but for its listeners, which are unused ports.
 */
public final class Warm {
    private static final int PATIENCE_SECONDS = 60;

    private Warm() {}

    public static void main(String[] arguments) throws Exception {
        int port = freePort();
        int controller = freePort();
        String clients = "PLAINTEXT://127.0.0.1:" + port;
        String[] broker = {
            arguments[0],
            "--override", "listeners=" + clients + ",CONTROLLER://127.0.0.1:" + controller,
            "--override", "advertised.listeners=" + clients,
            "--override", "controller.quorum.voters=1@127.0.0.1:" + controller,
            "--override", "offsets.topic.replication.factor=1",
            "--override", "offsets.topic.num.partitions=1",
            "--override", "log.cleaner.dedupe.buffer.size=2097152",
        };
        Thread server = new Thread(() -> kafka.Kafka.main(broker), "broker");
        server.setDaemon(true);
        server.start();

        Map<String, Object> settings = Map.of(
            "bootstrap.servers", "127.0.0.1:" + port,
            "max.block.ms", PATIENCE_SECONDS * 1000,
            "group.id", "warm",
            "auto.offset.reset", "earliest");
        // It tries again until the broker is there.
        try (var producer = new KafkaProducer<>(
                settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.send(new ProducerRecord<>("lab", new byte[1]))
                .get(PATIENCE_SECONDS, TimeUnit.SECONDS);
        }
        try (var consumer = new KafkaConsumer<>(
                settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of("lab"));
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
            while (consumer.poll(Duration.ofMillis(100)).isEmpty() && System.nanoTime() < end) {
                // Joining a group takes more than one.
            }
        }
        System.exit(0);
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }
}

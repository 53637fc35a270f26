/** Runs a Kafka broker that ends with the lab: when standard input does, however the lab died. */
public final class Broker {
    private Broker() {}

    public static void main(String[] arguments) {
        Thread leash = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is ever said on standard input.
                }
            } catch (java.io.IOException gone) {
                // As good as its end.
            }
            Runtime.getRuntime().halt(1);
        }, "leash");
        leash.setDaemon(true);
        leash.start();
        kafka.Kafka.main(arguments);
    }
}

import org.codelibs.opensearch.runner.OpenSearchRunner;
import static org.codelibs.opensearch.runner.OpenSearchRunner.newConfigs;

/** One OpenSearch node on loopback: OpenSearch DIRECTORY PORT. Ends with standard input. */
public final class OpenSearch {
    public static void main(String[] arguments) throws Exception {
        int port = Integer.parseInt(arguments[1]);
        OpenSearchRunner runner = new OpenSearchRunner();
        runner.setMaxHttpPort(65535);
        runner.onBuild((number, settings) -> {
            settings.put("http.port", port);
            settings.put("network.host", "127.0.0.1");
            settings.put("discovery.type", "single-node");
        }).build(newConfigs().basePath(arguments[0]).numOfNode(1).baseHttpPort(port - 1).disableESLogger());
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // Nothing is ever said on standard input.
        }
        Runtime.getRuntime().halt(0);
    }
}

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Ends an invocation as its payload asks: {"behavior": "kill"}. */
public class Handler implements RequestHandler<Map<String, Object>, Map<String, String>> {
    private static final int MB = 1 << 20;
    private static final List<Object> HELD = new ArrayList<>();

    static {
        init(System.getenv().getOrDefault("SANDBOX_INIT", ""));
    }

    @Override
    public Map<String, String> handleRequest(Map<String, Object> event, Context context) {
        for (Object line : (List<?>) event.getOrDefault("lines", List.of())) {
            System.out.println(String.valueOf(line).replace("{id}", context.getAwsRequestId()));
        }
        int mb = ((Number) event.getOrDefault("mb", 16)).intValue();
        switch (String.valueOf(event.getOrDefault("behavior", "succeed"))) {
            case "kill", "grow", "direct" -> direct();
            case "heap" -> heap();
            case "array" -> System.out.println(new long[Integer.MAX_VALUE].length);
            case "metaspace" -> metaspace(new ArrayList<>());
            case "metaspace-held" -> metaspace(HELD); // nothing is given back for the client
            case "handled" -> {
                try {
                    heap();
                } catch (OutOfMemoryError error) {
                    context.getLogger().log("served from disk instead: " + error + "\n");
                }
                if (event.containsKey("then")) {
                    return handleRequest(Map.of("behavior", event.get("then")), context);
                }
            }
            case "near-limit" -> {
                List<byte[]> held = new ArrayList<>();
                for (int count = 0; count < mb; count++) held.add(new byte[MB]);
                System.out.println("held " + held.size() + " MiB");
            }
            case "crash" -> Runtime.getRuntime().halt(
                ((Number) event.getOrDefault("code", 1)).intValue());
            case "timeout" -> {
                try {
                    Thread.sleep(3_600_000);
                } catch (InterruptedException error) {
                    throw new IllegalStateException(error);
                }
            }
            case "error" -> throw new IllegalStateException("asked for");
            default -> { }
        }
        return Map.of("status", "ok");
    }

    private static void heap() {
        List<byte[]> held = new ArrayList<>();
        while (true) held.add(new byte[MB]);
    }

    /** Touches memory beside the heap: its own limit ends it, or without one the kernel. */
    private static void direct() {
        List<ByteBuffer> held = new ArrayList<>();
        while (true) {
            ByteBuffer buffer = ByteBuffer.allocateDirect(MB);
            for (int at = 0; at < MB; at += 4096) buffer.put(at, (byte) 1);
            held.add(buffer);
        }
    }

    /** Classes of ever new loaders. */
    private static void metaspace(List<Object> held) {
        byte[] source;
        try (var in = Handler.class.getResourceAsStream("Handler.class")) {
            source = in.readAllBytes();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
        while (true) {
            ClassLoader loader = new ClassLoader(Handler.class.getClassLoader()) {
                @Override
                protected Class<?> findClass(String name) {
                    return defineClass("Handler", source, 0, source.length);
                }

                @Override
                public Class<?> loadClass(String name) throws ClassNotFoundException {
                    return name.equals("Handler") ? findClass(name) : super.loadClass(name);
                }
            };
            try {
                held.add(loader.loadClass("Handler"));
            } catch (ClassNotFoundException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    private static void init(String what) {
        Path mark = Path.of(System.getenv().getOrDefault("TMPDIR", "/tmp"), "died-once");
        if (what.endsWith("-once")) {
            if (Files.exists(mark)) return;
            try {
                Files.createFile(mark);
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }
        if (what.startsWith("heap")) heap();
        if (what.startsWith("kill")) direct();
    }
}

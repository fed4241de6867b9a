import java.io.BufferedReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kudu.ColumnSchema.ColumnSchemaBuilder;
import org.apache.kudu.Schema;
import org.apache.kudu.Type;
import org.apache.kudu.client.CreateTableOptions;
import org.apache.kudu.client.Insert;
import org.apache.kudu.client.KuduClient;
import org.apache.kudu.client.KuduScanner;
import org.apache.kudu.client.KuduSession;
import org.apache.kudu.client.KuduTable;
import org.apache.kudu.client.OperationResponse;
import org.apache.kudu.client.PartialRow;
import org.apache.kudu.client.SessionConfiguration.FlushMode;

/**
 * Sends the rows of a CSV file (seconds, ten tags, ten integers) to Kudu: MASTER CSV CLIENTS BATCH_ROWS BUCKETS. Rows are
 * parsed ahead. Prints rows a second, and fails unless as many can be counted as were sent.
 */
class Load {
    static final int TAGS = 10, FIELDS = 10;

    record Row(long seconds, String[] tags, long[] fields) {}

    public static void main(String[] given) throws Exception {
        int clients = Integer.parseInt(given[2]), batchRows = Integer.parseInt(given[3]);
        ConcurrentLinkedQueue<List<Row>> batches = read(Path.of(given[1]), batchRows);
        long rows = batches.stream().mapToLong(List::size).sum();
        KuduClient client = new KuduClient.KuduClientBuilder(given[0]).build();
        KuduTable table = create(client, Integer.parseInt(given[4]));
        AtomicLong failed = new AtomicLong();
        long start = System.nanoTime();
        List<Thread> threads = new ArrayList<>();
        for (int at = 0; at < clients; at++) {
            Thread thread = new Thread(() -> send(client, table, batches, batchRows, failed));
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) thread.join();
        double elapsed = (System.nanoTime() - start) / 1e9;
        long counted = count(client, table);
        if (failed.get() > 0 || counted != rows) {
            throw new IllegalStateException(rows + " rows sent, " + failed + " failed, " + counted + " counted");
        }
        System.out.printf("%.0f%n", rows / elapsed);
        client.close();
    }

    static ConcurrentLinkedQueue<List<Row>> read(Path path, int batchRows) throws Exception {
        ConcurrentLinkedQueue<List<Row>> batches = new ConcurrentLinkedQueue<>();
        List<Row> batch = new ArrayList<>();
        try (BufferedReader lines = Files.newBufferedReader(path)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] cells = line.split(",", -1);
                String[] tags = new String[TAGS];
                long[] fields = new long[FIELDS];
                for (int at = 0; at < TAGS; at++) tags[at] = cells[1 + at].intern();
                for (int at = 0; at < FIELDS; at++) fields[at] = Long.parseLong(cells[1 + TAGS + at]);
                batch.add(new Row(Long.parseLong(cells[0]), tags, fields));
                if (batch.size() == batchRows) {
                    batches.add(batch);
                    batch = new ArrayList<>();
                }
            }
        }
        if (!batch.isEmpty()) batches.add(batch);
        return batches;
    }

    static KuduTable create(KuduClient client, int buckets) throws Exception {
        List<org.apache.kudu.ColumnSchema> columns = new ArrayList<>();
        columns.add(new ColumnSchemaBuilder("tag0", Type.STRING).key(true).build());
        columns.add(new ColumnSchemaBuilder("time", Type.UNIXTIME_MICROS).key(true).build());
        for (int at = 1; at < TAGS; at++) columns.add(new ColumnSchemaBuilder("tag" + at, Type.STRING).build());
        for (int at = 0; at < FIELDS; at++) columns.add(new ColumnSchemaBuilder("field" + at, Type.INT64).build());
        CreateTableOptions options = new CreateTableOptions().addHashPartitions(List.of("tag0"), buckets).setNumReplicas(3);
        return client.createTable("cpu", new Schema(columns), options);
    }

    static void send(
            KuduClient client, KuduTable table, ConcurrentLinkedQueue<List<Row>> batches, int batchRows, AtomicLong failed) {
        try {
            KuduSession session = client.newSession();
            session.setFlushMode(FlushMode.MANUAL_FLUSH);
            session.setMutationBufferSpace(batchRows);
            session.setTimeoutMillis(60_000);
            for (List<Row> batch = batches.poll(); batch != null; batch = batches.poll()) {
                for (Row row : batch) session.apply(insert(table, row));
                for (OperationResponse answer : session.flush()) {
                    if (answer.hasRowError()) failed.incrementAndGet();
                }
            }
            session.close();
        } catch (Exception error) {
            error.printStackTrace();
            failed.incrementAndGet();
        }
    }

    static Insert insert(KuduTable table, Row row) {
        Insert insert = table.newInsert();
        PartialRow into = insert.getRow();
        into.addString(0, row.tags[0]);
        into.addLong(1, row.seconds * 1_000_000);
        for (int at = 1; at < TAGS; at++) into.addString(1 + at, row.tags[at]);
        for (int at = 0; at < FIELDS; at++) into.addLong(1 + TAGS + at, row.fields[at]);
        return insert;
    }

    static long count(KuduClient client, KuduTable table) throws Exception {
        long counted = 0;
        KuduScanner scanner = client.newScannerBuilder(table).setProjectedColumnNames(List.of()).build();
        while (scanner.hasMoreRows()) counted += scanner.nextRows().getNumRows();
        return counted;
    }
}

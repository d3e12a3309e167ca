// Leases as the Kinesis Client Library reads and writes them: `java -cp JARS Leases.java ENDPOINT ACCESS_KEY TABLE` does what it is
// told a line at a time, with the library's own code, and answers each line with one of JSON. A lease that it changes is as it
// last saw it, as in a worker.

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.slf4j.LoggerFactory;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.kinesis.common.DdbTableConfig;
import software.amazon.kinesis.leases.Lease;
import software.amazon.kinesis.leases.dynamodb.DynamoDBLeaseRefresher;
import software.amazon.kinesis.leases.dynamodb.DynamoDBLeaseSerializer;
import software.amazon.kinesis.leases.dynamodb.TableCreatorCallback;
import software.amazon.kinesis.retrieval.kpl.ExtendedSequenceNumber;

public class Leases {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final DynamoDBLeaseRefresher table;
    private final Map<String, Lease> seen = new TreeMap<>();

    private Leases(DynamoDBLeaseRefresher table) {
        this.table = table;
    }

    public static void main(String[] arguments) throws Exception {
        // It would write among the answers.
        ((Logger) LoggerFactory.getLogger(Logger.ROOT_LOGGER_NAME)).setLevel(Level.OFF);
        var credentials = AwsBasicCredentials.create(arguments[1], "secret");
        var client = DynamoDbAsyncClient.builder()
                .endpointOverride(URI.create(arguments[0]))
                .region(Region.EU_WEST_1)
                .credentialsProvider(StaticCredentialsProvider.create(credentials))
                .build();
        var leases = new Leases(new DynamoDBLeaseRefresher(
                arguments[2],
                client,
                new DynamoDBLeaseSerializer(),
                true,
                TableCreatorCallback.NOOP_TABLE_CREATOR_CALLBACK,
                Duration.ofSeconds(30),
                new DdbTableConfig(),
                false,
                false,
                List.of()));
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = lines.readLine()) != null; ) {
            System.out.println(JSON.writeValueAsString(leases.told(line.split(" "))));
        }
        client.close();
    }

    private Object told(String[] words) throws Exception {
        String shard = words.length > 1 ? words[1] : null;
        switch (words[0]) {
            case "create-table":
                table.createLeaseTableIfNotExists();
                return table.waitUntilLeaseTableExists(1, 30);
            case "list":
                table.listLeases().forEach(lease -> seen.put(lease.leaseKey(), lease));
                return list();
            case "create":
                return table.createLeaseIfNotExists(created(shard, words[2], Arrays.asList(words).subList(3, words.length)));
            case "take":
                return table.takeLease(seen.get(shard), words[2]);
            case "renew":
                return table.renewLease(seen.get(shard));
            case "checkpoint":
                Lease lease = seen.get(shard);
                lease.checkpoint(new ExtendedSequenceNumber(words[2], Long.valueOf(words[3])));
                lease.ownerSwitchesSinceCheckpoint(0L);
                return table.updateLease(lease);
            case "hand-over":
                return table.initiateGracefulLeaseHandoff(seen.get(shard), words[2]);
            case "assign":
                return table.assignLease(seen.get(shard), words[2]);
            case "evict":
                return table.evictLease(seen.get(shard));
            default:
                throw new IllegalArgumentException(words[0]);
        }
    }

    private static Lease created(String shard, String checkpoint, List<String> parents) {
        Lease lease = new Lease();
        lease.leaseKey(shard);
        lease.leaseCounter(0L);
        lease.ownerSwitchesSinceCheckpoint(0L);
        lease.checkpoint(new ExtendedSequenceNumber(checkpoint));
        if (!parents.isEmpty()) {
            lease.parentShardIds(parents);
        }
        return lease;
    }

    private ArrayNode list() {
        ArrayNode all = JSON.createArrayNode();
        for (Lease lease : seen.values()) {
            ObjectNode node = all.addObject();
            node.put("shard", lease.leaseKey());
            node.put("owner", lease.leaseOwner());
            node.put("checkpoint_owner", lease.checkpointOwner());
            node.put("counter", lease.leaseCounter());
            node.put("switches", lease.ownerSwitchesSinceCheckpoint());
            node.put("sequence_number", lease.checkpoint().sequenceNumber());
            node.put("sub_sequence_number", lease.checkpoint().subSequenceNumber());
            ArrayNode parents = node.putArray("parents");
            Set<String> sorted = new TreeSet<>(lease.parentShardIds());
            sorted.forEach(parents::add);
        }
        return all;
    }
}

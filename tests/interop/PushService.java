import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.HashMap;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.client.StreamCallbackWithID;
import org.apache.spark.network.shuffle.MergedBlockMeta;
import org.apache.spark.network.shuffle.RemoteBlockPushResolver;
import org.apache.spark.network.shuffle.protocol.ExecutorShuffleInfo;
import org.apache.spark.network.shuffle.protocol.FinalizeShuffleMerge;
import org.apache.spark.network.shuffle.protocol.MergeStatuses;
import org.apache.spark.network.shuffle.protocol.PushBlockStream;
import org.apache.spark.network.util.MapConfigProvider;
import org.apache.spark.network.util.TransportConf;
import org.roaringbitmap.RoaringBitmap;

/** The part of Spark's external shuffle service that merges pushed blocks and serves them, for one application.
 *  Compiled by Janino: no generics, no lambdas. */
public class PushService {
    private String application;
    private RemoteBlockPushResolver resolver;

    /** Merged partitions are in {@code merge_manager} beside {@code blockManager}, which need not exist. */
    public void start(String application, String blockManager, int subdirectories, int chunkBytes) throws IOException {
        HashMap settings = new HashMap();
        settings.put("spark.shuffle.push.server.minChunkSizeInMergedShuffleFile", chunkBytes + "b");
        this.application = application;
        this.resolver = new RemoteBlockPushResolver(
            new TransportConf("shuffle", new MapConfigProvider(settings)), (File) null);
        String manager = "org.apache.spark.shuffle.sort.SortShuffleManager:{\"mergeDir\": \"merge_manager\"}";
        resolver.registerExecutor(
            application, new ExecutorShuffleInfo(new String[] {blockManager}, subdirectories, manager));
    }

    public void stop() {
        resolver.close();
    }

    /** The maps of each chunk of a merged partition. */
    public int[][] chunkMaps(int shuffle, int merge, int partition) throws IOException {
        MergedBlockMeta meta = resolver.getMergedBlockMeta(application, shuffle, merge, partition);
        RoaringBitmap[] bitmaps = meta.readChunkBitmaps();
        int[][] maps = new int[meta.getNumChunks()][];
        for (int chunk = 0; chunk < maps.length; chunk++) {
            maps[chunk] = bitmaps[chunk].toArray();
        }
        return maps;
    }

    /** The bytes of a chunk. */
    public byte[] chunk(int shuffle, int merge, int partition, int chunk) throws IOException {
        ManagedBuffer data = resolver.getMergedBlockData(application, shuffle, merge, partition, chunk);
        return data.createInputStream().readAllBytes();
    }

    /** Push a block of a map, as its executor does; where it is not whole, its sender is not heard of again. */
    public void push(int shuffle, int merge, int map, int partition, byte[] content, boolean isWhole)
            throws IOException {
        StreamCallbackWithID stream = resolver.receiveBlockDataAsStream(
            new PushBlockStream(application, -1, shuffle, merge, map, partition, 0));
        stream.onData(stream.getID(), ByteBuffer.wrap(content));
        if (isWhole) {
            stream.onComplete(stream.getID());
        }
    }

    /** Finish the merge of a shuffle: the partitions that have blocks. */
    public int[] finish(int shuffle, int merge) {
        MergeStatuses statuses =
            resolver.finalizeShuffleMerge(new FinalizeShuffleMerge(application, -1, shuffle, merge));
        return statuses.reduceIds;
    }
}

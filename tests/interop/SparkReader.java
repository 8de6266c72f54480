import java.io.File;
import java.io.InputStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import org.apache.spark.SparkConf;
import org.apache.spark.network.buffer.ManagedBuffer;
import org.apache.spark.network.shuffle.MergedBlockMeta;
import org.apache.spark.network.shuffle.ShuffleIndexInformation;
import org.apache.spark.network.shuffle.ShuffleIndexRecord;
import org.apache.spark.serializer.JavaSerializer;
import org.apache.spark.serializer.SerializerManager;
import org.apache.spark.shuffle.IndexShuffleBlockResolver;
import org.apache.spark.shuffle.ShuffleChecksumUtils;
import org.apache.spark.shuffle.sort.SortShuffleManager;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.execution.UnsafeRowSerializer;
import org.apache.spark.storage.BlockId;
import org.apache.spark.storage.ShuffleBlockId;
import org.apache.spark.storage.ShuffleMergedBlockId;
import org.roaringbitmap.RoaringBitmap;
import scala.Option;
import scala.Tuple2;
import scala.collection.Iterator;

/** Reads shuffle files with Spark's own classes, in the JVM of a session. Compiled by Janino: no generics, no lambdas. */
public class SparkReader {
    /** Where Spark expects an output's data, index and checksums in this session. */
    public String[] places(int shuffle, long map, String algorithm) throws Throwable {
        IndexShuffleBlockResolver resolver = resolver();
        return new String[] {
            resolver.getDataFile(shuffle, map).getPath(),
            resolver.getIndexFile(shuffle, map, Option.empty()).getPath(),
            resolver.getChecksumFile(shuffle, map, algorithm, Option.empty()).getPath()
        };
    }

    /** Rows of a partition as its resolver finds it: {sum of the longs, sum of the strings' characters, rows}. */
    public long[] readBlock(SparkConf conf, int shuffle, long map, int partition) throws Throwable {
        BlockId block = new ShuffleBlockId(shuffle, map, partition);
        return sums(conf, block, resolver().getBlockData(block, Option.empty()).createInputStream());
    }

    /** The same of a chunk of a merged partition: what {@code readBlock} gives, and the maps of the chunk. */
    public long[] readChunk(SparkConf conf, String directory, int shuffle, int merge, int partition, int chunk)
            throws Throwable {
        ShuffleMergedBlockId block = new ShuffleMergedBlockId(shuffle, merge, partition);
        Option directories = Option.apply(new String[] {directory});
        ManagedBuffer data = (ManagedBuffer) resolver().getMergedBlockData(block, directories).apply(chunk);
        return sums(conf, block, data.createInputStream());
    }

    /** The maps of each chunk of a merged partition, as Spark reads its file of bitmaps. */
    public int[][] chunkMaps(String directory, int shuffle, int merge, int partition) throws Throwable {
        Option directories = Option.apply(new String[] {directory});
        MergedBlockMeta meta =
            resolver().getMergedBlockMeta(new ShuffleMergedBlockId(shuffle, merge, partition), directories);
        RoaringBitmap[] bitmaps = meta.readChunkBitmaps();
        int[][] maps = new int[meta.getNumChunks()][];
        for (int chunk = 0; chunk < maps.length; chunk++) {
            maps[chunk] = bitmaps[chunk].toArray();
        }
        return maps;
    }

    /** Offsets as Spark reads an index: start and length of each partition. */
    public long[][] readIndex(String path, int partitions) throws Throwable {
        ShuffleIndexInformation index = new ShuffleIndexInformation(path);
        long[][] ranges = new long[partitions][];
        for (int partition = 0; partition < partitions; partition++) {
            ShuffleIndexRecord record = index.getIndex(partition);
            ranges[partition] = new long[] {record.offset(), record.length()};
        }
        return ranges;
    }

    /** Whether the checksums of a file are those of the data, as Spark computes them. */
    public boolean checksumsAreRight(int partitions, String algorithm, String checksums, String data, String index) {
        return ShuffleChecksumUtils.compareChecksums(
            partitions, algorithm, new File(checksums), new File(data), new File(index));
    }

    private long[] sums(SparkConf conf, BlockId block, InputStream raw) throws Throwable {
        SerializerManager manager = new SerializerManager(new JavaSerializer(conf), conf);
        // As for any shuffle block: whether a block's compressed, and with what, is the configuration's.
        InputStream stream = manager.wrapStream(new ShuffleBlockId(0, 0L, 0), raw);
        Iterator rows =
            new UnsafeRowSerializer(2, null).newInstance().deserializeStream(stream).asKeyValueIterator();
        long[] sums = new long[3];
        while (rows.hasNext()) {
            UnsafeRow row = (UnsafeRow) ((Tuple2) rows.next())._2();
            sums[0] += row.getLong(0);
            sums[1] += row.getUTF8String(1).numChars();
            sums[2] += 1;
        }
        return sums;
    }

    private IndexShuffleBlockResolver resolver() throws Throwable {
        // Not by SparkEnv's own methods: reflection resolves all of them, also those whose classes are not there.
        Class environment = Class.forName("org.apache.spark.SparkEnv");
        MethodHandles.Lookup lookup = MethodHandles.publicLookup();
        Object current = lookup
            .findStatic(environment, "get", MethodType.methodType(environment))
            .invokeWithArguments(new Object[0]);
        Object manager = lookup
            .findVirtual(
                environment,
                "shuffleManager",
                MethodType.methodType(Class.forName("org.apache.spark.shuffle.ShuffleManager")))
            .invokeWithArguments(new Object[] {current});
        return (IndexShuffleBlockResolver) ((SortShuffleManager) manager).shuffleBlockResolver();
    }
}

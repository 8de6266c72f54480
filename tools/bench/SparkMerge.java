import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.util.Arrays;

import org.apache.spark.util.Utils;

/**
 * Merges spills as Spark's UnsafeShuffleWriter.mergeSpillsWithTransferTo does with the
 * LocalDiskShuffleMapOutputWriter: all spills open, one output channel open for append, partition by partition, every
 * range by Spark's own Utils.copyFileStreamNIO, positions of sources and output accounted for as there.
 *
 * <p>Reads one merge a line from standard input, fields separated by tabs: a file of offsets, the output, the spills.
 * The file holds for each spill its partitions' offsets, one more than there are partitions, as big-endian longs.
 * Answers each with a line: the nanoseconds from opening the first spill to closing the output. Spark knows lengths
 * from memory and writes its index later, so reading offsets is not counted and no index is written.
 *
 * <p>Kept to what Janino, the compiler among Spark's jars, can compile: a Java runtime without javac is enough.
 */
public final class SparkMerge {
  private final long[] startPositions;
  private final long[][] partitionLengths; // by spill
  private final File[] spills;
  private final File output;

  private FileChannel outputChannel = null;
  private long partitionStart = 0;
  private long bytesWritten = 0;

  public static void main(String[] arguments) throws IOException {
    BufferedReader requests = new BufferedReader(new InputStreamReader(System.in));
    String request;
    while ((request = requests.readLine()) != null) {
      System.out.println(new SparkMerge(request.split("\t")).run());
    }
  }

  private SparkMerge(String[] paths) throws IOException {
    output = new File(paths[1]);
    spills = new File[paths.length - 2];
    for (int i = 0; i < spills.length; i++) {
      spills[i] = new File(paths[i + 2]);
    }
    startPositions = new long[spills.length];
    partitionLengths = readLengths(new File(paths[0]));
  }

  private long[][] readLengths(File offsetsFile) throws IOException {
    ByteBuffer offsets = ByteBuffer.wrap(Files.readAllBytes(offsetsFile.toPath()));
    int partitionCount = offsets.capacity() / Long.BYTES / spills.length - 1;
    long[][] lengths = new long[spills.length][partitionCount];
    for (int i = 0; i < spills.length; i++) {
      long offset = startPositions[i] = offsets.getLong();
      for (int partition = 0; partition < partitionCount; partition++) {
        long next = offsets.getLong();
        lengths[i][partition] = next - offset;
        offset = next;
      }
    }
    return lengths;
  }

  private long run() throws IOException {
    long started = System.nanoTime();
    long[] mergedLengths = mergeSpills();
    if (outputChannel.position() != bytesWritten) { // commitAllPartitions
      throw new IOException("position " + outputChannel.position() + ", but " + bytesWritten + " bytes were written");
    }
    outputChannel.close();
    long nanoseconds = System.nanoTime() - started;
    if (Arrays.stream(mergedLengths).sum() != output.length()) {
      throw new IOException("the output has " + output.length() + " bytes");
    }
    return nanoseconds;
  }

  private long[] mergeSpills() throws IOException {
    int partitionCount = partitionLengths[0].length;
    long[] mergedLengths = new long[partitionCount];
    FileChannel[] inputChannels = new FileChannel[spills.length];
    long[] inputPositions = Arrays.copyOf(startPositions, startPositions.length);
    long[] ends = new long[spills.length];
    long writeNanoseconds = 0;
    for (int i = 0; i < spills.length; i++) {
      inputChannels[i] = new FileInputStream(spills[i]).getChannel();
      ends[i] = startPositions[i] + Arrays.stream(partitionLengths[i]).sum();
    }
    for (int partition = 0; partition < partitionCount; partition++) {
      FileChannel channel = openPartition();
      for (int i = 0; i < spills.length; i++) {
        long length = partitionLengths[i][partition];
        long writeStarted = System.nanoTime();
        Utils.copyFileStreamNIO(inputChannels[i], channel, inputPositions[i], length);
        inputPositions[i] += length;
        writeNanoseconds += System.nanoTime() - writeStarted; // the write metrics
      }
      mergedLengths[partition] = closePartition();
    }
    for (int i = 0; i < spills.length; i++) {
      if (inputPositions[i] != ends[i]) {
        throw new IOException(spills[i] + ": position " + inputPositions[i] + " after merging, not " + ends[i]);
      }
      inputChannels[i].close();
    }
    return mergedLengths;
  }

  /** As getPartitionWriter and openChannelWrapper: the channel is opened for append by the first partition. */
  private FileChannel openPartition() throws IOException {
    partitionStart = outputChannel == null ? 0 : outputChannel.position();
    if (outputChannel == null) {
      outputChannel = new FileOutputStream(output, true).getChannel();
    }
    return outputChannel;
  }

  /** As PartitionWriterChannel.close: the length is how far the position came. */
  private long closePartition() throws IOException {
    long length = outputChannel.position() - partitionStart;
    bytesWritten += length;
    return length;
  }
}

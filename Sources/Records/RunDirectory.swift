import Attention
import Foundation
import Statistics
import SystemPackage
import TensorFiles
import Units

/// A directory with the results of a sweep, open for appending.
///
/// `results.csv` has one row a cell, `samples.csv` one row a raw sample, `meta.json` the rest.
public final class RunDirectory {
  /// The paths of the files in a directory of results.
  public struct Layout: Equatable, Sendable {
    public let directory: String
    /// One row a cell.
    public var results: String { directory + "/results.csv" }
    /// One row a raw sample.
    public var samples: String { directory + "/samples.csv" }
    /// How the run was made.
    public var metadata: String { directory + "/meta.json" }
    /// The exponent of every curve.
    public var fits: String { directory + "/fits.csv" }
    /// The exponents from size to size.
    public var slopes: String { directory + "/slopes.csv" }
    /// Which curve overtakes which, and where.
    public var crossovers: String { directory + "/crossovers.csv" }
    /// Times predicted, and checked where they were measured.
    public var predictions: String { directory + "/predictions.csv" }

    /// What was measured: everything else is derived from these.
    public var records: [String] { [results, samples, metadata] }

    /// The layout under `directory`.
    public init(_ directory: String) { self.directory = directory }
  }

  /// Where the files lie.
  public let layout: Layout
  /// The rows a resumed run found; empty for a new one.
  public let earlierRows: [ResultRow]
  /// How many samples a resumed run found of each cell, those of cells without a row included.
  public let earlierSamples: [String: Int]
  /// What a resume had to overlook, one sentence each.
  public let notes: [String]

  /// As last written by the owner of the run.
  private var metadata: RunMetadata?
  /// Keeps others out for as long as this directory is open.
  private let hold: FileSink
  private var results: RowAppender<ResultRow, FileSink>
  private var samples: RowAppender<SampleRow, FileSink>
  /// What this run has made; it goes again where the run cannot even begin.
  private var made: Made

  /// Opens `path` for a run and creates it, with its parents, if need be.
  ///
  /// - Parameter resuming: goes on with the results that are there, if any. Without it a
  ///   directory that holds results is refused, because they may have taken hours.
  /// - Throws: `RecordError` when the directory holds results already, has other columns, is in use
  ///   by another process, or cannot be created or written.
  public init(path: String, resuming: Bool) throws(RecordError) {
    layout = Layout(path)
    if resuming {
      made = Made()
      _ = try Self.createDirectory(path)
      // Before reading: rows that another process adds in between must not be taken for torn ones.
      hold = try Self.lock(layout.results)
      let earlier = try RecordFile.results(ifPresent: layout.results)
      let taken = try RecordFile<SampleRow>(ifPresent: layout.samples)
      earlierRows = earlier.rows
      earlierSamples = taken.rows.reduce(into: [:]) { $0[$1.cellID, default: 0] += 1 }
      notes = earlier.notes + taken.notes
      results = try RowAppender(resuming: earlier, path: layout.results)
      samples = try RowAppender(resuming: taken, path: layout.samples)
      OutputTransaction.removeLeftovers(of: layout.metadata)
    } else {
      earlierRows = []
      earlierSamples = [:]
      notes = []
      var made = Made(directories: try Self.createDirectory(path))
      do throws(RecordError) {
        results = try RowAppender(creating: layout.results)
        made.files.append(layout.results)
        hold = try Self.lock(layout.results)
        samples = try RowAppender(creating: layout.samples)
        made.files.append(layout.samples)
      } catch {
        made.remove()
        throw error
      }
      self.made = made
    }
  }

  /// Files and directories that were not there before.
  private struct Made {
    var files: [String] = []
    var directories: [FilePath] = []

    func remove() {
      for path in files { unlink(path) }
      for path in directories.reversed() { rmdir(path.string) }
    }
  }

  /// Takes the results for this process, and creates their file if need be.
  private static func lock(_ path: String) throws(RecordError) -> FileSink {
    do throws(Errno) {
      let sink = try FileSink(path: path, mustBeNew: false)
      if try sink.lock() { return sink }
    } catch {
      throw .system(operation: "open", path: path, errno: error)
    }
    throw .inUse(path: path)
  }

  /// Adds a finished cell. Its samples go first, so that a row always has its samples.
  ///
  /// - Throws: `RecordError.system`; what was written before stays whole.
  public func append(_ row: ResultRow, samples taken: [SampleRow] = []) throws(RecordError) {
    try samples.append(taken)
    try results.append([row])
  }

  /// Writes `meta.json`: at the start of a run, and again when it is complete.
  ///
  /// - Throws: `RecordError.output`; the earlier file stays as it was, and of a new run that cannot
  ///   write its first one nothing stays.
  public func write(_ metadata: RunMetadata) throws(RecordError) {
    do throws(RecordError) {
      try MetadataFile.write(metadata, to: layout.metadata)
    } catch {
      if self.metadata == nil { made.remove() }
      throw error
    }
    self.metadata = metadata
  }

  /// Adds the ceilings of this sitting to `meta.json`, once that has been written, so that a kill
  /// leaves no cell without the ceilings it is held against.
  ///
  /// - Throws: `RecordError.output`; the earlier file stays as it was.
  public func keep(_ ceilings: [MachineCeiling]) throws(RecordError) {
    guard var metadata else { return }
    metadata.ceilings = (metadata.ceilings ?? []) + ceilings
    try MetadataFile.write(metadata, to: layout.metadata)
  }

  /// Reads the description of a run, for plots and comparisons.
  ///
  /// - Throws: `RecordError` when the file cannot be read or is no `meta.json`.
  public static func readMetadata(in directory: String) throws(RecordError) -> RunMetadata {
    try MetadataFile.read(Layout(directory).metadata)
  }

  /// Reads the rows of a run, for plots and comparisons.
  ///
  /// - Throws: `RecordError` when the file cannot be read or is no results file.
  public static func readResults(
    in directory: String
  ) throws(RecordError) -> RecordFile<ResultRow> {
    try .results(at: Layout(directory).results)
  }

  /// Reads the raw samples of a run; a directory may have rows and no samples.
  ///
  /// - Throws: `RecordError` when the file cannot be read or is no samples file.
  public static func readSamples(
    in directory: String
  ) throws(RecordError) -> RecordFile<SampleRow> {
    try RecordFile(ifPresent: Layout(directory).samples)
  }
}

extension RunDirectory {
  /// `mkdir -p`.
  ///
  /// - Returns: the directories that were not there.
  private static func createDirectory(_ path: String) throws(RecordError) -> [FilePath] {
    do throws(OutputError) {
      return try OutputTransaction.createDirectories(path)
    } catch {
      guard case .system(let errno) = error.reason else { throw .output(error) }
      throw .system(operation: "create directory", path: path, errno: errno)
    }
  }
}

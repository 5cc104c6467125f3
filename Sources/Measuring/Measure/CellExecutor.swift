import Attention
import Records
import Statistics
import Units

/// Makes cells ready to run: the part of a sweep that touches tensors, threads and the machine.
///
/// One size at a time: `load`, any number of `prepare`, `unload`. Cells of a size share inputs and
/// output, so a cell's results are there until another cell runs.
public protocol CellExecutor: AnyObject {
  /// Makes inputs and output of a problem resident.
  ///
  /// - Throws: when memory is refused or the inputs cannot be had.
  func load(_ problem: AttentionProblem) throws
  /// Gives the memory of `load` back. The cells that were prepared are gone by then.
  func unload()
  /// Plans a cell of the loaded problem.
  ///
  /// - Throws: when the strategy cannot serve the problem or memory is refused.
  func prepare(_ cell: SweepCell) throws -> any PreparedCell
  /// One short burst of the fused multiply-adds, or dot products, of an arithmetic on a placement's
  /// workers, in flop/s.
  func flopRate(on placement: SweepPlacement, in arithmetic: Arithmetic) throws -> Double
  /// One short burst of the matrix library's products on a placement's workers, in flop/s.
  func blasRate(on placement: SweepPlacement) throws -> Double
  /// What the caches hold.
  var caches: CacheCapacities { get }
  /// The rate at which a placement's workers read memory, in bytes/s; nil when there was none to
  /// read.
  func readRate(on placement: SweepPlacement) throws -> Double?
  /// The rate at which they read the first bytes of the loaded problem's tensors again and again, or read and
  /// write a state, in bytes/s; nil when nothing is loaded.
  func readRate(on placement: SweepPlacement, of set: WorkingSet) throws -> Double?
}

/// A cell that is planned and can be run.
public protocol PreparedCell: AnyObject {
  /// What the plan holds beyond inputs and output, in bytes; nil where that is not known.
  var workspaceBytes: Int? { get }
  /// Everything that belongs before a run and not into its time: workers awake, checked rows of
  /// the output marked as not yet written.
  func arm()
  /// Computes attention once. This is what is timed.
  func run() throws
  /// What the last run says of its own time; nil, the default, where the sweep's clock has it.
  var account: RunAccount? { get }
  /// Compares the output of the last run with the references.
  func check() throws -> OutputCheck
}

extension PreparedCell {
  public var account: RunAccount? { nil }
}

/// The time of a run as the process took it that ran: a clock around the call alone, which the way
/// there and back adds nothing to.
public struct RunAccount: Equatable, Sendable {
  /// Wall time of one call in seconds.
  public var seconds: Double
  /// Processor time of one call in seconds, all threads together.
  public var processorSeconds: Double
  /// Seconds of the whole turn: of calls that are too short to be timed once there are several, and
  /// calls before them that are not timed.
  public var turnSeconds: Double

  /// An account as given.
  public init(seconds: Double, processorSeconds: Double, turnSeconds: Double) {
    self.seconds = seconds
    self.processorSeconds = processorSeconds
    self.turnSeconds = turnSeconds
  }
}

/// Where finished cells go.
public protocol ResultStore: AnyObject {
  /// Keeps a finished cell and its samples.
  ///
  /// - Throws: `RecordError` when it cannot; the sweep ends then.
  func append(_ row: ResultRow, samples: [SampleRow]) throws(RecordError)
  /// Keeps the machine's ceilings that were measured so far, all of this sitting.
  ///
  /// - Throws: as `append`.
  func keep(_ ceilings: [MachineCeiling]) throws(RecordError)
}

extension ResultStore {
  /// Nothing: they are in the outcome of the sweep too.
  public func keep(_ ceilings: [MachineCeiling]) throws(RecordError) {}
}

extension RunDirectory: ResultStore {}

/// Keeps finished cells in memory, for sweeps whose rows only serve a decision.
public final class ResultCollector: ResultStore {
  /// The rows so far, in the order they were finished.
  public private(set) var rows: [ResultRow] = []
  /// The samples so far.
  public private(set) var samples: [SampleRow] = []

  /// Empty.
  public init() {}

  /// Keeps both; never fails.
  public func append(_ row: ResultRow, samples taken: [SampleRow]) throws(RecordError) {
    rows.append(row)
    samples += taken
  }
}

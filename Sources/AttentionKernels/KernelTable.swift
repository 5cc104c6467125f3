import CAttentionKernels
import Tensors
import Synchronization

#if canImport(Glibc)
  import Glibc
#endif

/// The micro-kernels of one instruction set.
///
/// Chosen once, when first used: the best the processor runs, or the one that the environment
/// variable `ATTNBENCH_ISA` names.
public struct KernelTable: @unchecked Sendable {
  // The table is a constant of a C library: immutable and never freed.
  package let functions: UnsafePointer<attn_kernels>

  package init(functions: UnsafePointer<attn_kernels>) { self.functions = functions }

  /// The instruction set: `avx512`, `avx2`, `neon`, `portable`.
  public var name: String { String(cString: functions.pointee.name) }
  /// Floats in a vector register.
  public var vectorLanes: Int { Int(functions.pointee.vector_lanes) }
  /// Query rows that travel together.
  public var panelLanes: Int { Int(functions.pointee.panel_lanes) }
  /// Keys scored together.
  package var tileKeys: Int { Int(functions.pointee.tile_keys) }

  /// Whether it has exponentials for several kinds of processor.
  package var hasSeveralExponentials: Bool { functions.pointee.attend_otherwise != nil }
  /// Whether the processor is one where instructions that scale by powers of two pay, being fewer than those of
  /// a table.
  package var scalesExponentials: Bool { attn_pipes_are_shared() != 0 }

  /// The tables compiled into this build, best first.
  public static let compiled: [KernelTable] = {
    var count: Int32 = 0
    let tables = attn_kernels_compiled(&count)
    return (0..<Int(count)).map { KernelTable(functions: tables[$0]) }
  }()

  /// Tables that this library does not have.
  private static let added = Mutex<[KernelTable]>([])

  /// Makes a table from elsewhere one that the environment can choose. To be called before any table
  /// is used.
  package static func add(_ table: KernelTable) { added.withLock { $0.append(table) } }

  /// Those this processor runs, best first; the portable one always is among them.
  public static let supported =
    compiled.filter { attn_kernels_supported($0.functions) != 0 } + added.withLock { $0 }

  /// The environment variable that forces a lesser instruction set.
  public static let environmentVariable = "ATTNBENCH_ISA"

  /// The table in force.
  public static let active: KernelTable = {
    let wanted = getenv(environmentVariable).map { String(cString: $0) }
    return supported.first { $0.name == wanted } ?? supported[0]
  }()

  /// What is wrong with the environment's choice, if it names a table that cannot be used here.
  public static var environmentProblem: AttentionError? {
    guard let wanted = getenv(environmentVariable).map({ String(cString: $0) }), !wanted.isEmpty,
      !supported.contains(where: { $0.name == wanted })
    else { return nil }
    return AttentionError(
      .invalidArgument, argument: environmentVariable, value: wanted,
      advice: "this processor runs \(supported.map(\.name).joined(separator: ", "))")
  }
}

import Attention
import CAttnbench
import MachineTopology

/// What a C function returns and says when it fails.
struct InterfaceError: Error {
  /// The codes of `attnbench_status`, by name.
  enum Status {
    case invalidArgument, shapeMismatch, tooLarge, outOfMemory, capacityExhausted, notFinite
    case unknownStrategy, threads, forked

    var code: Int32 {
      let status =
        switch self {
        case .invalidArgument: ATTNBENCH_INVALID_ARGUMENT
        case .shapeMismatch: ATTNBENCH_SHAPE_MISMATCH
        case .tooLarge: ATTNBENCH_TOO_LARGE
        case .outOfMemory: ATTNBENCH_OUT_OF_MEMORY
        case .capacityExhausted: ATTNBENCH_CAPACITY_EXHAUSTED
        case .notFinite: ATTNBENCH_NOT_FINITE
        case .unknownStrategy: ATTNBENCH_UNKNOWN_STRATEGY
        case .threads: ATTNBENCH_THREADS
        case .forked: ATTNBENCH_FORKED
        }
      return Int32(status.rawValue)
    }
  }

  let status: Status
  let text: String

  init(_ status: Status, _ text: String) {
    self.status = status
    self.text = text
  }

  init(_ error: AttentionError) {
    status =
      switch error.kind {
      case .invalidArgument: .invalidArgument
      case .shapeMismatch: .shapeMismatch
      case .tooLarge: .tooLarge
      case .outOfMemory: .outOfMemory
      case .capacityExhausted: .capacityExhausted
      case .notFinite: .notFinite
      case .unknownStrategy: .unknownStrategy
      }
    text = error.description
  }

  init(_ error: TopologyError) {
    status = .threads
    // The command's options have the names of the fields here.
    text = error.description.replacing("--", with: "")
  }

  static func null(_ argument: String) -> InterfaceError {
    InterfaceError(.invalidArgument, "\(argument) = NULL: must point to something")
  }
}

/// Runs the body of a C function: what it throws becomes a code and the thread's error text.
func reporting(_ body: () throws -> Void) -> Int32 {
  let failure: InterfaceError
  do {
    try body()
    return Int32(ATTNBENCH_OK.rawValue)
  } catch let error as InterfaceError {
    failure = error
  } catch let error as AttentionError {
    failure = InterfaceError(error)
  } catch let error as TopologyError {
    failure = InterfaceError(error)
  } catch {
    failure = InterfaceError(.invalidArgument, "\(error)")
  }
  attn_set_error_text(failure.text)
  return failure.status.code
}

import Glibc
import MessagePassing

/// A program whose processes are the ranks of one run.
public enum RankProgram {
  /// Starts MPI, does the work of this rank, and leaves with 0; with a failure's own code where all ranks know
  /// of it. An error that one rank alone has ends all.
  ///
  /// - Parameters:
  ///   - name: of the program, for messages.
  ///   - body: the work of this rank.
  public static func run(_ name: String, _ body: (Communicator) throws -> Void) -> Never {
    let communicator: Communicator
    do {
      communicator = try Communicator()
    } catch {
      Console.note("error: \(name): \(error)")
      exit(1)
    }
    do {
      try body(communicator)
      try communicator.close()
      exit(0)
    } catch let failure as AgreedFailure {
      if failure.isMineToPrint, !failure.description.isEmpty {
        if failure.exitCode == 0 {
          Console.print(failure.description)
        } else {
          Console.note(failure.description)
        }
      }
      // Whoever does not come any more has nothing left to say.
      try? communicator.close()
      exit(failure.exitCode)
    } catch {
      end(name, communicator, error)
    }
  }

  /// Says what went wrong on this rank and ends all of them: the others are in the middle of something and
  /// cannot be asked to.
  ///
  /// - Parameter remains: what is left of the run, behind the error.
  public static func end(
    _ name: String, _ communicator: Communicator, _ error: any Error, remains: String = ""
  ) -> Never {
    Console.note(
      "error: \(name), seen by rank \(communicator.rank): \(error)"
        + (remains.isEmpty ? "" : "; \(remains)"))
    communicator.abort(code: 1)
    exit(1)
  }
}

import ArgumentParser
import Attention

/// The strategies that commands know.
package enum CommandRegistry {
  /// The package's own; tests add theirs, faulty ones among them.
  @TaskLocal package static var current = StrategyRegistry.standard
}

/// `--strategy`, a list.
struct StrategyOptions: ParsableArguments {
  @Option(
    name: .customLong("strategy"),
    help: """
      Strategies, as 'full,flash,window(512, sinks: 4)', or all (default: all, of a sweep one of each \
      kind; see attnbench list).
      """)
  var list: String?

  /// Whether strategies were asked for one by one.
  var isNamed: Bool { list != nil && list != "all" }

  /// The strategies asked for, with their default parameters where none was.
  ///
  /// - Parameter isDefault: whether a family is meant where nothing was asked for.
  /// - Throws: `UsageError` with the nearest name.
  func strategies(
    of registry: StrategyRegistry = CommandRegistry.current,
    byDefault isDefault: (StrategyFamily) -> Bool = { _ in true }
  ) throws(UsageError) -> [any AttentionStrategy] {
    do throws(AttentionError) {
      if list == "all" { return try registry.defaults() }
      if let list { return try registry.strategies(list) }
      return try registry.defaults(where: isDefault)
    } catch {
      throw UsageError(strategy: error)
    }
  }
}

extension StrategyOptions {
  /// The one strategy that a text such as `window(8)` names.
  ///
  /// - Throws: `UsageError` with the nearest name.
  static func strategy(
    _ text: String, of registry: StrategyRegistry = CommandRegistry.current
  ) throws(UsageError) -> any AttentionStrategy {
    do throws(AttentionError) {
      return try registry.strategy(text)
    } catch {
      throw UsageError(strategy: error)
    }
  }
}

extension UsageError {
  /// An error about a strategy's name or parameters, with the way to their list.
  init(strategy error: AttentionError) {
    self.init("\(error) (attnbench list)")
  }
}
